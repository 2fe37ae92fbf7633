//! The exporter thread: takes records from the channel, gives them to every output, keeps time.
//!
//! One thread with a current-thread runtime. It looks at the channel every few milliseconds, so
//! that a reader never pays for waking it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use flowtable::Cut;
use tokio::sync::Notify;
use tracing::error;

use crate::batch::Batch;
use crate::feed::{Intake, Message, Pace};
use crate::flow::{DeviceSettings, KflowConfig, KflowOutput, ReadyRoute, Route, Timing, WhenFull};
use crate::http::HttpError;
use crate::ipfix::{IpfixConfig, IpfixOutput};
use crate::json::{JsonOutput, Target};
use crate::meter::TICK_S;
use crate::order::Order;
use crate::owners::Owners;
use crate::pairs::Pairs;
use crate::spool::SpoolError;
use crate::stats::{Count, OutputStats, Stats, Summary};

const SECOND: Duration = Duration::from_secs(1);
/// How long the thread sleeps when the channel was empty.
const LIVE_WAIT: Duration = Duration::from_millis(20);
const REPLAY_WAIT: Duration = Duration::from_millis(1);
/// Messages taken between two looks at the clock and the network.
const MESSAGES_PER_ROUND: usize = 64;
/// Records that wait for the slowest reader in replay, 250 to 500 MB.
const MAX_WAITING_RECORDS: usize = 1_500_000;
/// The longest time that one dispatch stands for, in seconds: the active timeout of a record.
const MAX_COVERED_S: u64 = 15;
/// The same capture gives the same sample.
const REPLAY_SEED: u64 = 0x6b_7072_6f62_6501;
/// How soon a finish notices that it should hurry.
const HURRY_CHECK: Duration = Duration::from_millis(50);
/// What [`ExporterHandle::finish`] waits beyond its deadline.
const GRACE: Duration = SECOND;
/// Settings that were told and not heard yet.
const WAITING_SETTINGS: usize = 4;
const LONGEST_FINISH: Duration = Duration::from_secs(365 * 86_400);

/// Where records go.
#[derive(Clone, Debug)]
pub enum Output {
    /// To a flow URL.
    Kflow(Box<KflowConfig>),
    /// As JSON lines.
    Json(Target),
    /// To an IPFIX collector.
    Ipfix(IpfixConfig),
}

/// Why the exporter could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The HTTP client of the kflow output.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The spool of the kflow output.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The file of the JSON output.
    #[error("cannot open {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The thread or its runtime.
    #[error("cannot start the exporter: {0}")]
    Thread(io::Error),
}

/// Starts the exporter with any number of outputs; each gets every record.
///
/// # Errors
/// See [`StartError`]; nothing runs then.
pub fn start(outputs: Vec<Output>, intake: Intake) -> Result<ExporterHandle, StartError> {
    let wake = Arc::new(Notify::new());
    let mut sinks = Vec::new();
    let mut output_stats = Vec::new();
    for output in outputs {
        let (sink, stats) = open(output, intake.pace, &wake)?;
        sinks.push(sink);
        output_stats.push(stats);
    }
    let stats = Arc::new(Stats {
        feed: Arc::clone(&intake.stats),
        channel_messages: Count::default(),
        early_releases: Count::default(),
        outputs: output_stats,
    });
    // The deadline, and one that comes sooner.
    let (control, finish) = bounded(2);
    let (ended, done) = bounded(1);
    let (settings, new_settings) = bounded(WAITING_SETTINGS);
    let told = Told { finish, settings: new_settings };
    let exporter = Exporter::new(intake, sinks, Arc::clone(&stats), told, Arc::clone(&wake));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Thread)?;
    let thread = std::thread::Builder::new()
        .name("export".into())
        .spawn(move || {
            runtime.block_on(exporter.run());
            // A name look-up may still be running and cannot be stopped.
            runtime.shutdown_background();
            // Nobody listens when the deadline has passed.
            let _ = ended.send(());
        })
        .map_err(StartError::Thread)?;
    Ok(ExporterHandle { stats, control, settings, done, thread, wake })
}

/// A running exporter. Dropped without [`Self::finish`], it delivers what it has and ends when all
/// feeds are gone, for at most ten seconds.
#[derive(Debug)]
pub struct ExporterHandle {
    stats: Arc<Stats>,
    control: Sender<Instant>,
    settings: Sender<News>,
    done: Receiver<()>,
    thread: JoinHandle<()>,
    wake: Arc<Notify>,
}

impl ExporterHandle {
    /// Counters, to be read at any time.
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }

    /// A way to change the settings of a running exporter, also from another thread.
    pub fn control(&self) -> ExporterControl {
        ExporterControl { settings: self.settings.clone(), wake: Arc::clone(&self.wake) }
    }

    /// Whether the thread runs; false before [`Self::finish`] only after a fault.
    pub fn is_alive(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Delivers everything that is in the channel, the intervals and the queues, and ends. What is
    /// not accepted `within` this time is counted as lost. Feeds should be gone before: a record
    /// sent while finishing may be counted as sent only.
    pub fn finish(self, within: Duration) -> Summary {
        self.finish_unless(within, || false, within)
    }

    /// Like [`Self::finish`], but as soon as `hurry` is true, only `hurry_within` more is waited.
    pub fn finish_unless(
        self,
        within: Duration,
        hurry: impl Fn() -> bool,
        hurry_within: Duration,
    ) -> Summary {
        let mut deadline = self.set_deadline(within);
        let mut hurried = false;
        loop {
            if !hurried && hurry() {
                hurried = true;
                deadline = deadline.min(self.set_deadline(hurry_within));
            }
            match self.done.recv_timeout(HURRY_CHECK) {
                Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                    if self.thread.join().is_err() {
                        error!("the exporter has failed");
                    }
                    break;
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() > deadline + GRACE => {
                    error!("the exporter hangs, most likely in a write");
                    break;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        let mut summary = self.stats.summary();
        summary.settle();
        summary
    }
}

impl ExporterHandle {
    fn set_deadline(&self, within: Duration) -> Instant {
        let deadline = Instant::now() + within.min(LONGEST_FINISH);
        // The thread may have ended after a fault.
        let _ = self.control.send(deadline);
        self.wake.notify_one();
        deadline
    }
}

/// Changes the settings of a running exporter.
#[derive(Clone, Debug)]
pub struct ExporterControl {
    settings: Sender<News>,
    wake: Arc<Notify>,
}

impl ExporterControl {
    /// Gives every kflow output the device's settings of now: new columns count at once, a new
    /// flow limit from the next dispatch on, and nothing that waits is lost. Settings that did not
    /// change do nothing. Returns false when the exporter has ended or is too busy to listen.
    pub fn apply(&self, settings: DeviceSettings) -> bool {
        self.tell(News::Device(settings))
    }

    /// Sends every kflow output's records and metrics elsewhere from now on, what waits included.
    /// What is on its way keeps its way; what of it fails is sent again, to the new place. Returns
    /// false like [`Self::apply`].
    ///
    /// # Errors
    /// No HTTP client can be made for it; everything stays as it is.
    pub fn redirect(&self, route: Route) -> Result<bool, HttpError> {
        Ok(self.tell(News::Route(Box::new(route.ready()?))))
    }

    fn tell(&self, news: News) -> bool {
        let told = self.settings.try_send(news).is_ok();
        self.wake.notify_one();
        told
    }
}

/// What changes while the exporter runs.
#[derive(Debug)]
enum News {
    Device(DeviceSettings),
    Route(Box<ReadyRoute>),
}

/// What reaches the thread beside records.
struct Told {
    finish: Receiver<Instant>,
    settings: Receiver<News>,
}

enum Sink {
    Kflow(Box<KflowOutput>),
    Json(JsonOutput),
    Ipfix(Box<IpfixOutput>),
}

fn open(
    output: Output,
    pace: Pace,
    wake: &Arc<Notify>,
) -> Result<(Sink, Arc<OutputStats>), StartError> {
    match output {
        Output::Kflow(config) => {
            let stats = Arc::new(OutputStats::new("kflow"));
            let (when_full, seed) = match pace {
                Pace::Live => (WhenFull::DropOldest, fastrand::u64(..)),
                Pace::Replay => (WhenFull::Keep, REPLAY_SEED),
            };
            let (wake, counted) = (Arc::clone(wake), Arc::clone(&stats));
            let output = KflowOutput::new(*config, when_full, seed, wake, counted)?;
            Ok((Sink::Kflow(Box::new(output)), stats))
        }
        Output::Json(target) => {
            let stats = Arc::new(OutputStats::new("json"));
            let output = JsonOutput::open(&target, Arc::clone(&stats)).map_err(|source| {
                let path = match target {
                    Target::File(path) | Target::Rotated(path, _) => path,
                    Target::Stdout => "standard output".into(),
                };
                StartError::File { path, source }
            })?;
            Ok((Sink::Json(output), stats))
        }
        Output::Ipfix(config) => {
            let stats = Arc::new(OutputStats::new("ipfix"));
            let (wake, counted) = (Arc::clone(wake), Arc::clone(&stats));
            let output = IpfixOutput::new(config, Timing::default(), wake, counted);
            Ok((Sink::Ipfix(Box::new(output)), stats))
        }
    }
}

impl Sink {
    fn begin(&mut self, seconds: u64) {
        if let Self::Kflow(output) = self {
            output.begin(seconds.clamp(1, MAX_COVERED_S) as u32);
        }
    }

    fn offer<'a>(&mut self, cuts: impl ExactSizeIterator<Item = Cut<'a>>) {
        match self {
            Self::Kflow(output) => output.offer(cuts),
            Self::Json(output) => output.offer(cuts),
            Self::Ipfix(output) => output.offer(cuts),
        }
    }

    /// After the deadline: a file still takes records, a server does not.
    fn offer_late<'a>(&mut self, cuts: impl ExactSizeIterator<Item = Cut<'a>>) {
        match self {
            Self::Kflow(output) => output.offer_late(cuts.len()),
            Self::Json(output) => output.offer(cuts),
            Self::Ipfix(output) => output.offer_late(cuts.len()),
        }
    }

    fn dispatch(&mut self) {
        match self {
            Self::Kflow(output) => output.dispatch(),
            Self::Json(_) => {}
            Self::Ipfix(output) => output.flush(),
        }
    }

    fn pump(&mut self, now: Instant) {
        match self {
            Self::Kflow(output) => output.pump(now),
            Self::Json(_) => {}
            Self::Ipfix(output) => output.pump(),
        }
    }

    fn flush(&mut self) {
        if let Self::Json(output) = self {
            output.flush();
        }
    }

    fn is_full(&self) -> bool {
        match self {
            Self::Kflow(output) => output.is_full(),
            Self::Json(_) => false,
            Self::Ipfix(output) => output.is_full(),
        }
    }

    fn is_idle(&self) -> bool {
        match self {
            Self::Kflow(output) => output.is_idle(),
            Self::Json(_) => true,
            Self::Ipfix(output) => output.is_idle(),
        }
    }

    /// Counts what has not been delivered as lost.
    fn end(&mut self) {
        match self {
            Self::Kflow(output) => output.abandon(),
            Self::Json(output) => output.finish(),
            Self::Ipfix(output) => output.end(),
        }
    }
}

struct Exporter {
    intake: Intake,
    sinks: Vec<Sink>,
    stats: Arc<Stats>,
    told: Told,
    wake: Arc<Notify>,
    /// Replay only.
    order: Option<Order>,
    /// Replay: the second whose records leave, and whether some wait for their dispatch.
    second: Option<u64>,
    is_second_open: bool,
    /// Live, where readers share an interface.
    owners: Option<Owners>,
    /// Live, where there are several readers.
    pairs: Option<Pairs>,
    next_dispatch: Instant,
    next_tick: Instant,
    deadline: Option<Instant>,
    /// Nothing more comes in.
    input_ended: bool,
}

impl Exporter {
    fn new(
        intake: Intake,
        sinks: Vec<Sink>,
        stats: Arc<Stats>,
        told: Told,
        wake: Arc<Notify>,
    ) -> Self {
        let now = Instant::now();
        let order =
            (intake.pace == Pace::Replay).then(|| Order::new(intake.readers, MAX_WAITING_RECORDS));
        let links = intake.links.clone();
        let owners = if intake.pace == Pace::Live { Owners::new(links) } else { None };
        let pairs = (intake.pace == Pace::Live && intake.readers > 1).then(Pairs::new);
        Self {
            intake,
            sinks,
            stats,
            told,
            wake,
            order,
            second: None,
            is_second_open: false,
            owners,
            pairs,
            next_dispatch: now + SECOND,
            next_tick: now + SECOND * TICK_S as u32,
            deadline: None,
            input_ended: false,
        }
    }

    async fn run(mut self) {
        let wait = if self.order.is_some() { REPLAY_WAIT } else { LIVE_WAIT };
        loop {
            self.hear_finish();
            self.hear_settings();
            let taken = self.take_in();
            let now = Instant::now();
            self.release_answers(|pairs| pairs.next(now));
            self.keep_time(now);
            for sink in &mut self.sinks {
                sink.pump(now);
            }
            if self.input_ended && self.is_drained() || self.deadline.is_some_and(|d| now >= d) {
                break;
            }
            if taken {
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.end();
    }

    /// Learns that it is time to finish, also from a handle that was dropped.
    fn hear_finish(&mut self) {
        match self.told.finish.try_recv() {
            Ok(deadline) => {
                self.deadline = Some(self.deadline.map_or(deadline, |d| d.min(deadline)));
            }
            Err(TryRecvError::Disconnected) if self.input_ended && self.deadline.is_none() => {
                self.deadline = Some(Instant::now() + 10 * SECOND);
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
        }
    }

    fn hear_settings(&mut self) {
        while let Ok(news) = self.told.settings.try_recv() {
            for sink in &mut self.sinks {
                let Sink::Kflow(output) = sink else { continue };
                match &news {
                    News::Device(settings) => output.apply(settings),
                    News::Route(route) => output.redirect(route),
                }
            }
        }
    }

    /// Takes messages, and in replay lets records leave in order. A replay waits while a queue is
    /// full. True when there may be more at once.
    fn take_in(&mut self) -> bool {
        let mut done = 0;
        while done < MESSAGES_PER_ROUND {
            // What can leave does so before more is taken, so that it does not pile up.
            done += 1;
            if self.let_leave() {
                continue;
            }
            if self.input_ended || self.must_hold() {
                done -= 1;
                break;
            }
            match self.intake.received.try_recv() {
                Ok(message) => self.handle(message),
                Err(TryRecvError::Empty) if self.deadline.is_none() => {
                    done -= 1;
                    break;
                }
                Err(_) => self.end_input(),
            }
        }
        self.stats.channel_messages.set(self.intake.received.len() as u64);
        done > 0
    }

    fn must_hold(&self) -> bool {
        self.order.is_some() && self.sinks.iter().any(Sink::is_full)
    }

    fn handle(&mut self, message: Message) {
        match (message, &mut self.order) {
            (Message::Records { reader, records }, Some(order)) => order.push(reader, records),
            (Message::Records { reader, mut records }, None) => {
                if let Some(owners) = &mut self.owners {
                    let records = records.iter().map(|cut| cut.record);
                    for record in records.filter(|r| owners.is_foreign(reader, r)) {
                        self.stats.feed.foreign_records.add(1);
                        self.stats.feed.foreign_packets.add(record.packets);
                    }
                }
                if let Some(pairs) = &mut self.pairs {
                    pairs.see(&mut records, Instant::now());
                }
                self.offer(records);
            }
            (Message::Tick { reader, time_ns }, Some(order)) => order.tick(reader, time_ns),
            (Message::End { reader }, Some(order)) => order.end(reader),
            (Message::Tick { .. } | Message::End { .. }, None) => {}
        }
    }

    /// Live: to everybody at once.
    fn offer(&mut self, records: Batch) {
        if let Some(observer) = &mut self.intake.observer {
            observer.see(records.iter());
        }
        for sink in &mut self.sinks {
            sink.offer(records.iter());
        }
        self.intake.recycle(records);
    }

    /// Answers that wait no longer.
    fn release_answers(&mut self, next: impl Fn(&mut Pairs) -> Option<Batch>) {
        while let Some(answer) = self.pairs.as_mut().and_then(&next) {
            self.offer(answer);
        }
    }

    fn end_input(&mut self) {
        self.input_ended = true;
        self.release_answers(Pairs::last);
        match &mut self.order {
            Some(order) => order.end_all(),
            None => self.sinks.iter_mut().for_each(Sink::dispatch),
        }
    }

    /// Replay: gives the outputs the records that can leave, if there is room for them, with a
    /// dispatch after each second of packet time.
    fn let_leave(&mut self) -> bool {
        if self.must_hold() {
            return false;
        }
        let Some(order) = &mut self.order else { return false };
        let Some(leaving) = order.next() else {
            return self.second.is_some_and(|second| order.has_passed(second)) && self.end_second();
        };
        if self.second != Some(leaving.second) {
            if self.is_second_open {
                self.sinks.iter_mut().for_each(Sink::dispatch);
            }
            let last = self.second.replace(leaving.second);
            let covered_s = last.map_or(1, |last| leaving.second.saturating_sub(last));
            self.sinks.iter_mut().for_each(|sink| sink.begin(covered_s));
        }
        self.is_second_open = true;
        if leaving.early {
            self.stats.early_releases.add(1);
        }
        if let Some(observer) = &mut self.intake.observer {
            observer.see(leaving.iter());
        }
        for sink in &mut self.sinks {
            sink.offer(leaving.iter());
        }
        order.settle(|batch| self.intake.recycle(batch));
        true
    }

    /// Replay: the dispatch of the second at hand; false when there is none to make.
    fn end_second(&mut self) -> bool {
        let is_open = std::mem::take(&mut self.is_second_open);
        if is_open {
            self.sinks.iter_mut().for_each(Sink::dispatch);
        }
        is_open
    }

    /// Live: a dispatch each second; one that comes late lets the next take the missed seconds'
    /// share too.
    fn keep_time(&mut self, now: Instant) {
        if now >= self.next_dispatch {
            let missed_s = (now - self.next_dispatch).as_secs();
            self.next_dispatch += SECOND * (missed_s as u32 + 1);
            for sink in &mut self.sinks {
                if self.order.is_none() {
                    sink.dispatch();
                    sink.begin(missed_s + 1);
                }
                sink.flush();
            }
        }
        if now >= self.next_tick {
            self.next_tick = now + SECOND * TICK_S as u32;
            self.stats.outputs.iter().for_each(|output| output.tick());
        }
    }

    fn is_drained(&self) -> bool {
        self.order.as_ref().is_none_or(Order::is_empty)
            && !self.is_second_open
            && self.sinks.iter().all(Sink::is_idle)
    }

    /// Counts what could not be delivered; a deadline may have come before the input's end.
    fn end(mut self) {
        // No more than is there now: readers of a replay may still be running.
        for _ in 0..self.intake.received.len() {
            if let Ok(message) = self.intake.received.try_recv() {
                self.handle(message);
            }
        }
        if !self.input_ended {
            self.end_input();
        }
        self.release_answers(Pairs::last);
        self.end_second();
        while let Some(leaving) = self.order.as_mut().and_then(Order::next) {
            for sink in &mut self.sinks {
                sink.offer_late(leaving.iter());
            }
        }
        for (sink, stats) in self.sinks.iter_mut().zip(&self.stats.outputs) {
            sink.end();
            stats.closed.store(true, Relaxed);
        }
    }
}
