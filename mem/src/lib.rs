//! Fixed-capacity slabs on huge pages, and prefetch.
