//! Spools that are filled, drained, killed and damaged.

use std::os::unix::fs::PermissionsExt;

use super::*;

const ROOMY: u64 = 1 << 20;

fn put(store: &mut Store, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        let (gone, written) = store.append(number, 10, 1, format!("body {number}").as_bytes());
        assert!(written.is_ok() && gone.is_empty());
    }
}

/// Takes the oldest batch out as a sender does.
fn take(store: &mut Store) -> Option<u64> {
    let loaded = store.oldest(&[]).1.unwrap()?;
    assert_eq!(loaded.body, format!("body {}", loaded.number).as_bytes());
    store.done(loaded.number).unwrap();
    Some(loaded.number)
}

fn drain(store: &mut Store) -> Vec<u64> {
    std::iter::from_fn(|| take(store)).collect()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let numbers = segment_numbers(dir).unwrap();
    numbers.iter().map(|number| dir.join(format!("{number:020}.seg"))).collect()
}

#[test]
fn batches_leave_by_age_and_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), ROOMY).unwrap();
    put(&mut store, [1, 2, 4, 3]);
    assert_eq!((store.batches(), store.records(), store.youngest()), (4, 40, 4));
    assert_eq!(store.oldest(&[1, 2]).1.unwrap().unwrap().number, 3);
    assert_eq!(drain(&mut store), [1, 2, 3, 4]);
    assert_eq!((store.batches(), store.records(), store.bytes()), (0, 0, 0));
    assert!(segments(dir.path()).is_empty());
}

#[test]
fn what_waits_is_found_after_a_crash_and_what_was_answered_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), ROOMY).unwrap();
    put(&mut store, 1..=5);
    assert_eq!((take(&mut store), take(&mut store)), (Some(1), Some(2)));
    // Nothing is closed or synced; the lock goes with the process.
    drop(store);
    let mut store = Store::open(dir.path(), ROOMY).unwrap();
    assert_eq!((store.batches(), store.records(), store.youngest()), (3, 30, 5));
    put(&mut store, [6]);
    assert_eq!(drain(&mut store), [3, 4, 5, 6]);
}

#[test]
fn a_file_that_was_cut_anywhere_gives_the_batches_before_the_cut() {
    let source = tempfile::tempdir().unwrap();
    put(&mut Store::open(source.path(), ROOMY).unwrap(), 1..=3);
    let bytes = std::fs::read(&segments(source.path())[0]).unwrap();
    for cut in 0..bytes.len() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("00000000000000000001.seg"), &bytes[..cut]).unwrap();
        let mut store = Store::open(dir.path(), ROOMY).unwrap();
        // 8 bytes of magic, 46 bytes for each batch.
        let whole = (cut.max(8) - 8) as u64 / 46;
        assert_eq!(store.batches(), whole, "cut at {cut}");
        put(&mut store, [9]);
        let expected: Vec<u64> = (1..=whole).chain([9]).collect();
        assert_eq!(drain(&mut store), expected, "cut at {cut}");
    }
}

#[test]
fn beyond_the_limit_the_oldest_segment_goes_and_says_what_was_in_it() {
    let dir = tempfile::tempdir().unwrap();
    // Segments close at 100 bytes: two entries of 47 each.
    let mut store = Store::open(dir.path(), 800).unwrap();
    let mut gone = Vec::new();
    for number in 10..40 {
        let (more, written) = store.append(number, 10, 1, format!("body {number}").as_bytes());
        written.unwrap();
        gone.extend(more.iter().map(|gone| gone.number));
        assert!(store.bytes() <= 800);
        let on_disk: u64 =
            segments(dir.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
        assert_eq!(on_disk, store.bytes());
    }
    assert_eq!(gone.len() as u64 + store.batches(), 30);
    let first_left = 10 + gone.len() as u64;
    assert_eq!(gone, (10..first_left).collect::<Vec<_>>());
    assert_eq!(drain(&mut store), (first_left..40).collect::<Vec<_>>());
}

#[test]
fn a_batch_that_can_never_fit_is_refused_and_nothing_goes_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), 800).unwrap();
    put(&mut store, [1]);
    let (gone, written) = store.append(2, 10, 1, &[0; 800]);
    assert!(gone.is_empty() && written.is_err());
    assert_eq!(drain(&mut store), [1]);
}

#[test]
fn a_damaged_body_costs_its_batch_alone() {
    let dir = tempfile::tempdir().unwrap();
    put(&mut Store::open(dir.path(), ROOMY).unwrap(), 1..=3);
    let path = &segments(dir.path())[0];
    let mut bytes = std::fs::read(path).unwrap();
    // In the body of the second entry.
    bytes[8 + 46 + 41] ^= 1;
    std::fs::write(path, bytes).unwrap();
    let mut store = Store::open(dir.path(), ROOMY).unwrap();
    assert_eq!(take(&mut store), Some(1));
    let (damaged, loaded) = store.oldest(&[]);
    assert_eq!(damaged, [Gone { number: 2, records: 10 }]);
    assert_eq!(loaded.unwrap().unwrap().number, 3);
    assert_eq!(store.records(), 10);
}

#[test]
fn a_file_that_vanished_is_an_error_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), ROOMY).unwrap();
    put(&mut store, [1, 2]);
    std::fs::remove_file(&segments(dir.path())[0]).unwrap();
    assert!(store.oldest(&[]).1.is_err());
}

#[test]
fn one_process_has_the_spool() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), ROOMY).unwrap();
    let error = Store::open(dir.path(), ROOMY).err().unwrap().to_string();
    let holder = format!("in use by another process (number {})", std::process::id());
    assert!(error.contains(&holder), "{error}");
    drop(store);
    assert!(Store::open(dir.path(), ROOMY).is_ok());
}

#[test]
fn nobody_else_can_read_the_spool() {
    let dir = tempfile::tempdir().unwrap();
    let spool = dir.path().join("a/b");
    let mut store = Store::open(&spool, ROOMY).unwrap();
    put(&mut store, [1]);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&spool), 0o700);
    assert_eq!(mode(&spool.join("lock")), 0o600);
    assert_eq!(mode(&segments(&spool)[0]), 0o600);
}

#[test]
fn other_files_in_the_directory_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    std::fs::write(dir.path().join("x.seg"), "mine").unwrap();
    let store = Store::open(dir.path(), ROOMY).unwrap();
    assert_eq!(store.batches(), 0);
    drop(store);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
}

#[test]
fn a_place_that_is_no_directory_is_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let error = Store::open(&file, ROOMY).err().unwrap().to_string();
    assert!(error.starts_with("cannot use the spool "), "{error}");
}
