//! When a field is left out of what is written: Go's `omitempty`.

/// Whether a value is its type's zero value.
pub(super) fn zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
