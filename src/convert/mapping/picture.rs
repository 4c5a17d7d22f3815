//! The keys of pictures: `crop`, `rotate` and `resize`, whatever their order in the file carried out in that one.
//!
//! Whether a part lies inside the pictures is found when one was seen.

use super::Located;
use super::error::MappingError;
use super::keys::Keys;
use crate::convert::image::{Crop, IMAGE_PIXELS_MAX, IMAGE_SIDE_MAX, Transform, Turn};

const CROP: &str = "crop";
const ROTATE: &str = "rotate";
const RESIZE: &str = "resize";
/// All of them.
pub(super) const KEYS: [&str; 3] = [CROP, ROTATE, RESIZE];

/// What the table asks of its pictures.
pub(super) fn transform(table: &Keys<'_>) -> Result<Transform, MappingError> {
    let crop = match table.integers(CROP, "[x, y, width, height]", 0..=IMAGE_SIDE_MAX)? {
        Some(Located { value: [x, y, width, height], place }) => {
            if width == 0 || height == 0 {
                return Err(
                    table.error(place, "crop = [x, y, width, height] needs a width and height of 1 or more")
                );
            }
            Some(Crop { x, y, width, height })
        }
        None => None,
    };
    let turn = match table.integer(ROTATE, 0..=u32::MAX)? {
        None => None,
        Some(Located { value: 90, .. }) => Some(Turn::Right),
        Some(Located { value: 180, .. }) => Some(Turn::Over),
        Some(Located { value: 270, .. }) => Some(Turn::Left),
        Some(Located { value, place }) => {
            let what = format!("rotate = {value}: valid are 90, 180 and 270, in degrees clockwise");
            return Err(table.error(place, what));
        }
    };
    let resize = match table.integers(RESIZE, "[width, height]", 1..=IMAGE_SIDE_MAX)? {
        Some(Located { value: [width, height], place }) => {
            if u64::from(width) * u64::from(height) > IMAGE_PIXELS_MAX {
                return Err(table.error(place, format!("resize gives at most {IMAGE_PIXELS_MAX} pixels")));
            }
            Some((width, height))
        }
        None => None,
    };
    Ok(Transform { crop, turn, resize })
}

/// Refuses the keys for what is no picture.
pub(super) fn none_of_them(table: &Keys<'_>) -> Result<(), MappingError> {
    match KEYS.into_iter().find_map(|key| Some((key, table.place_of(key)?))) {
        Some((key, place)) => {
            Err(table.error(place, format!("{key} is for pictures: it needs kind = \"image\" or \"video\"")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::mapping::{Content, Mapping};

    fn parsed(kind: &str, keys: &str) -> Result<Transform, String> {
        let text = format!(
            "fps = 30\n[task]\ntext = \"pick\"\n[[feature]]\nname = \"observation.state\"\n\
             source = [{{ topic = \"/joints\", field = \"position\" }}]\n[[feature]]\nname = \"front\"\n\
             kind = \"{kind}\"\nsource = [{{ topic = \"/camera\" }}]\n{keys}\n"
        );
        match &Mapping::parse("pick.toml", &text).map_err(|error| error.to_string())?.features[1].content {
            Content::Image { transform, .. } => Ok(*transform),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_become_a_transform() {
        assert_eq!(parsed("image", ""), Ok(Transform::default()));
        let all = parsed("image", "resize = [224, 112]\nrotate = 270\ncrop = [1, 2, 30, 40]").unwrap();
        let crop = Some(Crop { x: 1, y: 2, width: 30, height: 40 });
        assert_eq!(all, Transform { crop, turn: Some(Turn::Left), resize: Some((224, 112)) });
        assert_eq!(all.size(31, 42), Ok((224, 112)));
        assert_eq!(parsed("image", "rotate = 90").unwrap().size(640, 480), Ok((480, 640)));
        assert_eq!(parsed("image", "rotate = 180").unwrap().turn, Some(Turn::Over));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_valid() {
        for (keys, expected) in [
            ("rotate = 45", "pick.toml:11:10: rotate = 45: valid are 90, 180 and 270, in degrees clockwise"),
            ("rotate = 0", "rotate = 0: valid are"),
            (
                "crop = [0, 0, 10]",
                "pick.toml:11:8: crop must be 4 whole numbers from 0 to 16384: crop = [x, y, width, height]",
            ),
            ("crop = [0, 0, -1, 4]", "crop must be 4 whole numbers"),
            ("crop = [0, 0, 0, 4]", "a width and height of 1 or more"),
            ("resize = [0, 4]", "resize must be 2 whole numbers from 1 to 16384: resize = [width, height]"),
            ("resize = 224", "resize must be 2 whole numbers"),
            ("resize = [16384, 16384]", "at most 67108864 pixels"),
            ("resise = [1, 1]", "did you mean \"resize\""),
        ] {
            let found = parsed("image", keys).unwrap_err();
            assert!(found.contains(expected), "{keys}: {found}");
        }
        let vector = parsed("vector", "rotate = 90").unwrap_err();
        assert!(
            vector.contains("rotate is for pictures: it needs kind = \"image\" or \"video\""),
            "{vector}"
        );
    }
}
