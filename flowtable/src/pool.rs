//! Values under numbers from 1 on, at most so many.

/// Memory is reserved at start and touched as values come. Number 0 is nobody's.
pub(crate) struct Pool<T> {
    places: Vec<Place<T>>,
    limit: usize,
    /// First of the free places; 0 for none.
    free: u32,
    len: usize,
}

enum Place<T> {
    Used(T),
    /// The number of the next free place.
    Free(u32),
}

impl<T> Pool<T> {
    /// Memory of one value.
    pub(crate) const BYTES_EACH: usize = size_of::<Place<T>>();

    /// Room for `limit` values.
    pub(crate) fn new(limit: usize) -> Self {
        let limit = limit.min(u32::MAX as usize - 1);
        Self { places: Vec::with_capacity(limit), limit, free: 0, len: 0 }
    }

    /// Values held.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds a value; gives it back when there is no room.
    pub(crate) fn add(&mut self, value: T) -> Result<u32, T> {
        if self.free == 0 && self.places.len() >= self.limit {
            return Err(value);
        }
        self.len += 1;
        let Some(place) = self.places.get_mut(index(self.free)) else {
            self.places.push(Place::Used(value));
            return Ok(self.places.len() as u32);
        };
        let number = self.free;
        if let Place::Free(next) = std::mem::replace(place, Place::Used(value)) {
            self.free = next;
        }
        Ok(number)
    }

    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        match self.places.get(index(number)) {
            Some(Place::Used(value)) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        match self.places.get_mut(index(number)) {
            Some(Place::Used(value)) => Some(value),
            _ => None,
        }
    }

    /// Takes a value out; its number may be given out again at once.
    pub(crate) fn take(&mut self, number: u32) -> Option<T> {
        let place = self.places.get_mut(index(number))?;
        match std::mem::replace(place, Place::Free(self.free)) {
            Place::Used(value) => {
                self.free = number;
                self.len -= 1;
                Some(value)
            }
            free @ Place::Free(_) => {
                *place = free;
                None
            }
        }
    }
}

fn index(number: u32) -> usize {
    (number as usize).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_given_out_again_and_the_limit_holds() {
        let mut pool = Pool::new(2);
        assert_eq!((pool.add('a'), pool.add('b'), pool.add('c')), (Ok(1), Ok(2), Err('c')));
        assert_eq!((pool.take(1), pool.take(1), pool.len()), (Some('a'), None, 1));
        assert_eq!(
            (pool.get(1), pool.get(2), pool.get(0), pool.get(9)),
            (None, Some(&'b'), None, None)
        );
        assert_eq!((pool.add('d'), pool.get(1)), (Ok(1), Some(&'d')));
        *pool.get_mut(2).unwrap() = 'e';
        assert_eq!(
            (pool.take(2), pool.take(1), pool.add('f'), pool.add('g')),
            (Some('e'), Some('d'), Ok(1), Ok(2))
        );
    }
}
