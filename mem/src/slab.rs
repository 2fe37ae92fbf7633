//! A vector that cannot grow past its capacity and lives on huge pages.

use std::io;
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};
use std::ptr::NonNull;

use memmap2::{Advice, MmapMut, MmapOptions};

/// Size of an x86-64 or arm64 huge page; alignment of every slab.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Integers for which all zero bits are a value, so that fresh pages need no writing.
pub trait Zeroable: Copy + sealed::Sealed {}
impl Zeroable for u8 {}
impl Zeroable for u16 {}
impl Zeroable for u32 {}
impl Zeroable for u64 {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for u16 {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
}

/// Up to `capacity` values of `T` in one mapping that never moves.
///
/// `T: Copy` because values are never dropped. Index out of `0..len` panics like a slice's.
pub struct Slab<T: Copy> {
    base: NonNull<T>,
    len: usize,
    capacity: usize,
    // Keeps the mapping alive; all access goes through `base`.
    _map: MmapMut,
    _owns: PhantomData<T>,
}

// SAFETY: a slab owns its mapping exclusively and hands out references only through `&self` and
// `&mut self`, exactly like a `Vec<T>`.
unsafe impl<T: Copy + Send> Send for Slab<T> {}
// SAFETY: as above; `&Slab<T>` gives `&T` only.
unsafe impl<T: Copy + Sync> Sync for Slab<T> {}

impl<T: Copy> Slab<T> {
    /// Reserves room for `capacity` values; none is stored yet and no page is touched.
    ///
    /// # Errors
    /// The kernel's refusal to map (usually ENOMEM), or a capacity whose size does not fit.
    pub fn with_capacity(capacity: usize) -> io::Result<Self> {
        let bytes = capacity
            .checked_mul(size_of::<T>())
            .and_then(|bytes| bytes.checked_add(HUGE_PAGE_BYTES))
            .ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let mut map = MmapOptions::new().len(bytes).no_reserve_swap().map_anon()?;
        // A refusal (kernel without huge pages) costs speed, not correctness.
        let _ = map.advise(Advice::HugePage);
        let start = map.as_mut_ptr();
        let pad = start.align_offset(HUGE_PAGE_BYTES.max(align_of::<T>()));
        // SAFETY: `pad` < HUGE_PAGE_BYTES (the alignment of every T here is at most a page's), and
        // the mapping is HUGE_PAGE_BYTES longer than the values need.
        let base = unsafe { NonNull::new_unchecked(start.add(pad).cast::<T>()) };
        Ok(Self { base, len: 0, capacity, _map: map, _owns: PhantomData })
    }

    /// Appends a value and returns its index, or `None` when the slab is full.
    #[inline]
    pub fn push(&mut self, value: T) -> Option<usize> {
        if self.len == self.capacity {
            return None;
        }
        let index = self.len;
        // SAFETY: index < capacity was checked above, so the slot lies inside the mapping.
        unsafe { self.base.add(index).write(value) };
        self.len += 1;
        Some(index)
    }

    /// Forgets all values; the memory stays.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Number of values stored.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when nothing is stored.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The most values the slab can hold.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// All values stored.
    #[inline]
    pub fn as_slice(&self) -> &[T] {
        // SAFETY: the first `len` slots were written by `push` or are zero pages of a Zeroable.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }

    /// All values stored, mutable.
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: as in `as_slice`; `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.len) }
    }

    /// Hints that the value at `index` is needed soon, its first cache line if it has several; an
    /// index out of range is ignored.
    #[inline(always)]
    pub fn prefetch(&self, index: usize) {
        if let Some(value) = self.as_slice().get(index) {
            crate::prefetch(value);
        }
    }

    /// The same for all cache lines of the value.
    #[inline(always)]
    pub fn prefetch_whole(&self, index: usize) {
        if let Some(value) = self.as_slice().get(index) {
            crate::prefetch_whole(value);
        }
    }
}

impl<T: Zeroable> Slab<T> {
    /// `len` zeros, none of them touched yet.
    ///
    /// # Errors
    /// As [`Slab::with_capacity`].
    pub fn zeroed(len: usize) -> io::Result<Self> {
        let mut slab = Self::with_capacity(len)?;
        // Fresh anonymous pages are zero (mmap(2), MAP_ANONYMOUS), a valid value of every Zeroable.
        slab.len = len;
        Ok(slab)
    }
}

impl<T: Copy> Index<usize> for Slab<T> {
    type Output = T;
    #[inline]
    fn index(&self, index: usize) -> &T {
        &self.as_slice()[index]
    }
}

impl<T: Copy> IndexMut<usize> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, index: usize) -> &mut T {
        &mut self.as_mut_slice()[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, PartialEq, Debug)]
    #[repr(align(64))]
    struct Line([u64; 8]);

    #[test]
    fn a_full_slab_refuses_and_keeps_what_it_has() {
        let mut slab = Slab::with_capacity(2).unwrap();
        assert_eq!(slab.push(Line([1; 8])), Some(0));
        assert_eq!(slab.push(Line([2; 8])), Some(1));
        assert_eq!(slab.push(Line([3; 8])), None);
        assert_eq!(slab.as_slice(), &[Line([1; 8]), Line([2; 8])]);
    }

    #[test]
    fn a_slab_starts_on_a_huge_page() {
        let mut slab = Slab::with_capacity(1).unwrap();
        slab.push(Line([0; 8]));
        assert_eq!(std::ptr::from_ref(&slab[0]).addr() % HUGE_PAGE_BYTES, 0);
    }

    #[test]
    fn zeroed_words_read_zero_to_the_last() {
        let slab = Slab::<u64>::zeroed(1 << 20).unwrap();
        assert_eq!(slab.len(), 1 << 20);
        assert_eq!(slab[0], 0);
        assert_eq!(slab[(1 << 20) - 1], 0);
        slab.prefetch(usize::MAX);
    }

    #[test]
    #[should_panic(expected = "index out of bounds")]
    fn reading_past_the_length_panics() {
        let slab = Slab::<Line>::with_capacity(8).unwrap();
        let _ = slab[0];
    }

    #[test]
    fn an_impossible_capacity_is_an_error() {
        assert!(Slab::<Line>::with_capacity(usize::MAX / 2).is_err());
    }
}
