//! Least, greatest and mean value of a feature's elements, value by value.

/// Of one feature.
#[derive(Debug, Clone, Default)]
pub(super) struct Running {
    elements: Vec<Element>,
}

/// Of one element.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element {
    pub(super) min: f64,
    pub(super) max: f64,
    sum: f64,
    pub(super) count: u64,
}

impl Running {
    pub(super) fn new(width: usize) -> Self {
        Self {
            elements: vec![Element { min: f64::INFINITY, max: f64::NEG_INFINITY, sum: 0.0, count: 0 }; width],
        }
    }

    /// Adds values, element after element. Those that are no finite numbers are left out.
    pub(super) fn add(&mut self, values: &[f64]) {
        for row in values.chunks(self.elements.len().max(1)) {
            for (element, value) in self.elements.iter_mut().zip(row).filter(|(_, value)| value.is_finite()) {
                element.min = element.min.min(*value);
                element.max = element.max.max(*value);
                element.sum += *value;
                element.count += 1;
            }
        }
    }

    /// Adds what another has seen.
    pub(super) fn merge(&mut self, other: &Self) {
        for (element, other) in self.elements.iter_mut().zip(&other.elements) {
            element.min = element.min.min(other.min);
            element.max = element.max.max(other.max);
            element.sum += other.sum;
            element.count += other.count;
        }
    }

    pub(super) fn elements(&self) -> &[Element] {
        &self.elements
    }
}

impl Element {
    pub(super) fn mean(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }
}
