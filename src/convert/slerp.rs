//! Between two rotations: spherical interpolation of unit quaternions along the shorter arc.
//!
//! The order of the four components does not matter. Sine and arc tangent come from `libm`, written in Rust: the same bits
//! whatever the machine and its C library.

use std::array::from_fn;

/// Components of a quaternion.
pub(crate) const QUATERNION: usize = 4;
/// Arcs with a smaller sine are taken as straight.
const SINE_MIN: f64 = 1e-9;

/// The rotation that lies `weight` (0 to 1) of the way from one to the other, of length 1. `q` and `-q` are the same
/// rotation: of the two arcs the shorter one is taken. None when one of them has no direction (all zero, or not finite).
pub(crate) fn slerp(
    from: [f64; QUATERNION],
    to: [f64; QUATERNION],
    weight: f64,
) -> Option<[f64; QUATERNION]> {
    let (from, to) = (unit(from)?, unit(to)?);
    let to = if dot(from, to) < 0.0 { to.map(|x| -x) } else { to };
    let apart = length(combined(from, 1.0, to, -1.0));
    let together = length(combined(from, 1.0, to, 1.0));
    let angle = 2.0 * libm::atan2(apart, together);
    let sine = libm::sin(angle);
    let (a, b) = if sine < SINE_MIN {
        (1.0 - weight, weight)
    } else {
        (libm::sin((1.0 - weight) * angle) / sine, libm::sin(weight * angle) / sine)
    };
    unit(combined(from, a, to, b))
}

fn combined(p: [f64; QUATERNION], a: f64, q: [f64; QUATERNION], b: f64) -> [f64; QUATERNION] {
    let (mut p, mut q) = (p.into_iter(), q.into_iter());
    from_fn(|_| p.next().unwrap_or_default() * a + q.next().unwrap_or_default() * b)
}

fn dot(p: [f64; QUATERNION], q: [f64; QUATERNION]) -> f64 {
    p.into_iter().zip(q).map(|(a, b)| a * b).sum()
}

fn length(q: [f64; QUATERNION]) -> f64 {
    dot(q, q).sqrt()
}

fn unit(q: [f64; QUATERNION]) -> Option<[f64; QUATERNION]> {
    let length = length(q);
    (length.is_finite() && length > 0.0).then(|| q.map(|x| x / length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A turn about an axis of length 1.
    fn turn(axis: [f64; 3], angle: f64) -> [f64; 4] {
        let half = angle / 2.0;
        [axis[0] * half.sin(), axis[1] * half.sin(), axis[2] * half.sin(), half.cos()]
    }

    fn near(p: [f64; 4], q: [f64; 4]) -> bool {
        p.into_iter().zip(q).all(|(a, b)| (a - b).abs() < 1e-12)
    }

    #[test]
    fn half_of_a_quarter_turn_is_an_eighth() {
        let z = [0.0, 0.0, 1.0];
        let half = slerp(turn(z, 0.0), turn(z, 1.0), 0.5).unwrap();
        assert!(near(half, turn(z, 0.5)), "{half:?}");
        let straight = slerp(turn(z, 0.3), turn(z, 0.3), 0.7).unwrap();
        assert!(near(straight, turn(z, 0.3)), "{straight:?}");
    }

    #[test]
    fn what_has_no_direction_has_no_way_to_another() {
        let q = [0.0, 0.0, 0.0, 1.0];
        for bad in [[0.0; 4], [f64::NAN, 0.0, 0.0, 1.0], [f64::INFINITY, 0.0, 0.0, 0.0], [1e300; 4]] {
            assert_eq!((slerp(q, bad, 0.5), slerp(bad, q, 0.5)), (None, None));
        }
    }

    proptest! {
        #![proptest_config(crate::convert::testing::cases())]

        /// Turns about one axis: the angle is linear, over the shorter way, whatever the lengths and signs.
        #[test]
        fn turns_about_an_axis_have_linear_angles(
            axis in prop::array::uniform3(-1.0f64..1.0),
            (from, by) in (-3.0f64..3.0, -3.1f64..3.1),
            (weight, scale) in (0.0f64..1.0, 0.1f64..10.0),
            (flip, far) in (any::<bool>(), any::<bool>()),
        ) {
            let long = axis.iter().map(|x| x * x).sum::<f64>().sqrt();
            prop_assume!(long > 0.1);
            let axis = axis.map(|x| x / long);
            let sign = if flip { -scale } else { scale };
            // A turn the long way round is the short one the other way.
            let target = if far { by - by.signum() * std::f64::consts::TAU } else { by };
            let got = slerp(turn(axis, from), turn(axis, from + target).map(|x| x * sign), weight).unwrap();
            prop_assert!((dot(got, got) - 1.0).abs() < 1e-12);
            let expected = turn(axis, from + by * weight);
            prop_assert!(near(got, expected) || near(got, expected.map(|x| -x)), "{:?} {:?}", got, expected);
        }

        /// The order of the components does not matter, and forth is back.
        #[test]
        fn it_knows_no_order_and_no_direction(
            (p, q) in (prop::array::uniform4(-1.0f64..1.0), prop::array::uniform4(-1.0f64..1.0)),
            weight in 0.0f64..1.0,
        ) {
            let shuffled = |[x, y, z, w]: [f64; 4]| [w, x, y, z];
            let one = slerp(p, q, weight).unwrap();
            let other = slerp(shuffled(p), shuffled(q), weight).unwrap();
            prop_assert!(near(shuffled(one), other));
            let back = slerp(q, p, 1.0 - weight).unwrap();
            prop_assert!(near(one, back) || near(one, back.map(|x| -x)));
        }
    }
}
