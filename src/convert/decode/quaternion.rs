//! Which of a value's numbers are quaternions, as its types tell: structs called `Quaternion` with x, y, z and w.
//!
//! It reads no message.

use super::types::{Count, Kind, Primitive, Types};

/// What the type is called, whatever package it stands in: `geometry_msgs/msg/Quaternion`, `foxglove.Quaternion`.
const NAME: &str = "Quaternion";
/// Its parts, in any order.
const PARTS: [&str; 4] = ["x", "y", "z", "w"];

/// Where quaternions begin among the numbers of a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quaternions {
    /// In the numbers of one element.
    first: Vec<usize>,
    /// How many numbers an element has; none when lists in it decide.
    every: Option<usize>,
}

impl Quaternions {
    /// All numbers are quaternions, four by four.
    #[must_use]
    pub fn throughout() -> Self {
        Self { first: vec![0], every: Some(PARTS.len()) }
    }

    /// Of a list of such a kind, or one.
    pub(crate) fn of(types: &Types, kind: Kind) -> Self {
        let (mut at, mut first) = (0, Vec::new());
        let every = walk(types, kind, Count::One, &mut at, &mut first).map(|()| at);
        Self { first, every }
    }

    /// Where they begin among `width` numbers.
    #[must_use]
    pub fn among(&self, width: usize) -> Vec<usize> {
        let every = self.every.filter(|every| *every > 0).unwrap_or(width.max(1));
        let elements = (0..width).step_by(every);
        let all = elements.flat_map(|element| self.first.iter().map(move |first| element + first));
        all.filter(|begin| begin + PARTS.len() <= width).collect()
    }
}

/// Steps over the numbers of a value. None at a list of them: what stands behind has no fixed place.
fn walk(types: &Types, kind: Kind, count: Count, at: &mut usize, first: &mut Vec<usize>) -> Option<()> {
    let times = match count {
        Count::One => 1,
        Count::Fixed(n) => usize::try_from(n).ok()?,
        Count::Dynamic { .. } => return None,
    };
    match kind {
        Kind::Primitive(p) => *at = at.checked_add(if p.is_numeric() { times } else { 0 })?,
        Kind::Struct(index) => {
            for _ in 0..times {
                if is_quaternion(types, index) {
                    first.push(*at);
                }
                for field in types.fields(index).iter().filter(|field| !field.hidden) {
                    walk(types, field.kind, field.count, at, first)?;
                }
            }
        }
    }
    Some(())
}

fn is_quaternion(types: &Types, index: usize) -> bool {
    let name = types.struct_name(index).rsplit(['/', '.']).next();
    let fields: Vec<_> = types.fields(index).iter().filter(|field| !field.hidden).collect();
    let is_part = |part: &&str| {
        let float = |kind| matches!(kind, Kind::Primitive(Primitive::F32 | Primitive::F64));
        fields.iter().any(|field| field.name == **part && field.count == Count::One && float(field.kind))
    };
    name == Some(NAME) && fields.len() == PARTS.len() && PARTS.iter().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::super::rosmsg::{Ros, parse};
    use super::super::target::resolve;

    const POSES: &str = "string frame\ngeometry_msgs/Pose pose\ngeometry_msgs/Pose[] poses\ngeometry_msgs/Pose[2] two\nfloat64[4] data\nOther other
================================================================================
MSG: geometry_msgs/Pose
geometry_msgs/Point position
geometry_msgs/Quaternion orientation
================================================================================
MSG: geometry_msgs/Point
float64 x
float64 y
float64 z
================================================================================
MSG: geometry_msgs/Quaternion
float64 x
float64 y
float64 z
float64 w
================================================================================
MSG: made_up/Other
float64 x
float64 y
float64 z
float64 w
";

    #[test]
    fn quaternions_are_found_by_their_type_wherever_they_stand() {
        let types = parse("made_up/Poses", POSES.as_bytes(), Ros::Two).unwrap();
        let among = |path: &str, width: usize| {
            resolve("made_up/Poses", &types, path).unwrap().quaternions.among(width)
        };
        assert_eq!(among("pose", 7), [3]);
        assert_eq!(among("pose.orientation", 4), [0]);
        assert_eq!(among("pose.orientation.x", 1), [0usize; 0]);
        assert_eq!(among("poses", 21), [3, 10, 17]);
        assert_eq!(among("poses[0:2].orientation", 8), [0, 4]);
        assert_eq!(among("two", 14), [3, 10]);
        assert_eq!(
            among("data", 4),
            [0usize; 0],
            "four numbers are no quaternion unless the mapping says so"
        );
        assert_eq!(among("other", 4), [0usize; 0]);
    }
}
