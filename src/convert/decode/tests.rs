//! Definitions, paths and values by hand, and any bytes whatever: an error, never a panic.

use super::*;
use crate::convert::source::Topic;
use crate::convert::testing::cases;
use proptest::prelude::*;

mod hostile;

fn topic(name: &str, message_encoding: &str, schema_encoding: &str, text: &str) -> Topic {
    Topic {
        name: "/topic".to_owned(),
        schema_name: name.to_owned(),
        schema_encoding: schema_encoding.to_owned(),
        schema_data: text.as_bytes().to_vec().into(),
        message_encoding: message_encoding.to_owned(),
        message_count: None,
    }
}

fn ros2(text: &str) -> Schema {
    Schema::parse(&topic("pkg/msg/Main", "cdr", "ros2msg", text)).unwrap()
}

fn ros1(text: &str) -> Schema {
    Schema::parse(&topic("pkg/Main", "ros1", "ros1msg", text)).unwrap()
}

fn json(text: &str) -> Schema {
    Schema::parse(&topic("Main", "json", if text.is_empty() { "" } else { "jsonschema" }, text)).unwrap()
}

fn numbers(schema: &Schema, path: &str, data: &[u8]) -> Result<Vec<f64>, DecodeError> {
    let mut out = Vec::new();
    Extractor::compile(schema, path)?.numbers(data, &mut out)?;
    Ok(out)
}

fn strings(schema: &Schema, path: &str, data: &[u8]) -> Result<Vec<String>, DecodeError> {
    let mut out = Vec::new();
    Extractor::compile(schema, path)?.strings(data, &mut out)?;
    Ok(out)
}

/// A CDR body behind its encapsulation.
fn cdr(parts: &[&[u8]]) -> Vec<u8> {
    [&[0, 1, 0, 0][..], &parts.concat()].concat()
}

const JOINTS: &str = "\
std_msgs/Header header\n\
string[] name  # the joints\n\
float64[] position\n\
================================================================================\n\
MSG: std_msgs/Header\n\
builtin_interfaces/Time stamp\n\
string frame_id\n\
================================================================================\n\
MSG: builtin_interfaces/Time\n\
int32 sec\n\
uint32 nanosec\n";

fn joints() -> Vec<u8> {
    cdr(&[
        &5_i32.to_le_bytes(),
        &6_u32.to_le_bytes(),
        &[2, 0, 0, 0, b'f', 0, 0, 0],
        &[2, 0, 0, 0],
        &[2, 0, 0, 0, b'a', 0, 0, 0],
        &[2, 0, 0, 0, b'b', 0, 0, 0],
        &[2, 0, 0, 0],
        &1.5_f64.to_le_bytes(),
        &(-2.0_f64).to_le_bytes(),
    ])
}

#[test]
fn joint_states_give_names_positions_and_stamp() {
    let schema = ros2(JOINTS);
    let data = joints();
    assert_eq!(strings(&schema, "name", &data).unwrap(), ["a", "b"]);
    assert_eq!(numbers(&schema, "position[1]", &data).unwrap(), [-2.0]);
    assert_eq!(StampPlan::compile(&schema).unwrap().stamp_ns(&data).unwrap(), 5_000_000_006);
    let names = Extractor::compile(&schema, "name").unwrap();
    assert_eq!((names.kind(), names.fixed_len()), (ValueKind::Strings, None));
    assert_eq!(names.span(&data).unwrap().unwrap().len(), 4 + 8 + 6, "from its length to its last zero byte");
    let error = numbers(&schema, "position[2]", &data).unwrap_err().to_string();
    assert!(error.contains("position[2]") && error.contains("list of 2"), "{error}");
}

#[test]
fn both_byte_orders_and_both_versions_of_alignment() {
    let schema = ros2("uint8 a\nfloat64 b\nint16 c");
    let le =
        [&[0, 1, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0][..], &2.5_f64.to_le_bytes(), &(-3_i16).to_le_bytes()].concat();
    let be =
        [&[0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0][..], &2.5_f64.to_be_bytes(), &(-3_i16).to_be_bytes()].concat();
    let v2 = [&[0, 7, 0, 0, 7, 0, 0, 0][..], &2.5_f64.to_le_bytes(), &(-3_i16).to_le_bytes()].concat();
    for data in [le, be, v2] {
        assert_eq!(numbers(&schema, "b", &data).unwrap(), [2.5]);
        assert_eq!(numbers(&schema, "c", &data).unwrap(), [-3.0]);
    }
    for data in [&[1, 1, 0, 0, 7][..], &[0, 1, 0]] {
        assert!(numbers(&schema, "a", data).unwrap_err().to_string().contains("encapsulation"));
    }
    for (kind, part) in [(2, "PL_CDR"), (3, "PL_CDR"), (9, "version 2"), (99, "0x63")] {
        let error = numbers(&schema, "a", &[0, kind, 0, 0, 7]).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn ros1_packs_and_has_its_own_header_time_byte_and_char() {
    let text = "Header header\nbyte b\nchar c\ntime t\nduration d\nstring s\nuint8[] data\n===\nMSG: std_msgs/Header\n\
                uint32 seq\ntime stamp\nstring frame_id\n";
    let schema = ros1(text);
    let mut data = Vec::new();
    data.extend(9_u32.to_le_bytes());
    data.extend(5_u32.to_le_bytes());
    data.extend(6_u32.to_le_bytes());
    data.extend([1, 0, 0, 0, b'f', 0xff, 0xff]);
    data.extend(7_u32.to_le_bytes());
    data.extend(8_u32.to_le_bytes());
    data.extend((-1_i32).to_le_bytes());
    data.extend((-2_i32).to_le_bytes());
    data.extend([2, 0, 0, 0, b'h', b'i', 3, 0, 0, 0, 1, 2, 3]);
    assert_eq!(StampPlan::compile(&schema).unwrap().stamp_ns(&data).unwrap(), 5_000_000_006);
    assert_eq!(numbers(&schema, "b", &data).unwrap(), [-1.0]);
    assert_eq!(numbers(&schema, "c", &data).unwrap(), [255.0]);
    assert_eq!(numbers(&schema, "t", &data).unwrap(), [7.0, 8.0]);
    assert_eq!(numbers(&schema, "d", &data).unwrap(), [-1.0, -2.0]);
    assert_eq!(strings(&schema, "s", &data).unwrap(), ["hi"]);
    let bytes = Extractor::compile(&schema, "data").unwrap();
    assert!(matches!(bytes.bytes(&data).unwrap(), std::borrow::Cow::Borrowed([1, 2, 3])));
    assert_eq!(numbers(&schema, "data[1:]", &data).unwrap(), [2.0, 3.0]);
    // The same bytes as CDR would be.
    let mut as_cdr = Schema::parse(&topic("pkg/Main", "cdr", "ros1msg", text)).unwrap();
    assert!(matches!(as_cdr.learn(&data), Err(DecodeError::WrongLabel { .. })));
}

#[test]
fn definitions_with_all_their_quirks() {
    let schema = ros2(
        "# a comment\nint32 LEVEL=4\nstring NAME=\"a # b\"\nuint8   level  3   # with default\n\
         string<=5 short \"x\"\nint32[<=3] bounded\nfloat32[2] pair\npkg2/msg/Empty nothing\nEmpty[] nothings\n\
         wstring wide\nfloat64 last\n\
         ===\nMSG: pkg2/Empty\n===\nMSG: pkg/msg/Empty\n# nothing\n",
    );
    let paths: Vec<String> = schema.fields().into_iter().map(|f| f.path).collect();
    assert_eq!(paths, ["level", "short", "bounded", "pair", "wide", "last"]);
    for wide in [2_usize, 4] {
        let mut letter = vec![0; wide];
        letter[0] = b'w';
        let mut body = vec![3, 0, 0, 0, 2, 0, 0, 0, b'x', 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0];
        body.extend(1.0_f32.to_le_bytes());
        body.extend(2.0_f32.to_le_bytes());
        // One octet for the empty struct, a list of three of them.
        body.extend([0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
        body.extend([1, 0, 0, 0]);
        body.extend(letter);
        body.resize(body.len().next_multiple_of(8), 0);
        body.extend(4.25_f64.to_le_bytes());
        let data = cdr(&[&body]);
        assert_eq!(strings(&schema, "wide", &data).unwrap(), ["w"], "{wide}");
        assert_eq!(numbers(&schema, "last", &data).unwrap(), [4.25], "{wide}");
        assert_eq!(numbers(&schema, "pair", &data).unwrap(), [1.0, 2.0]);
        assert_eq!(strings(&schema, "short", &data).unwrap(), ["x"]);
    }
    let over = cdr(&[&[3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0]]);
    assert!(
        numbers(&ros2("uint8 a\nstring s\nint32[<=3] b"), "b", &over)
            .unwrap_err()
            .to_string()
            .contains("bounded to 3")
    );
}

#[test]
fn paths_name_elements_and_errors_name_what_is_valid() {
    let text = "geometry_msgs/Vector3 linear\ngeometry_msgs/Vector3[] points\nfloat64[3] fixed\nstring label\n===\n\
                MSG: geometry_msgs/Vector3\nfloat64 x\nfloat64 y\nfloat64 z\n";
    let schema = ros2(text);
    let of = |path: &str| Extractor::compile(&schema, path).unwrap();
    let names = |list: &[&str]| Some(list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
    assert_eq!((of("linear").fixed_len(), of("linear").element_names()), (Some(3), names(&["x", "y", "z"])));
    assert_eq!(of("linear.y").element_names(), names(&["y"]));
    assert_eq!(of("points[4]").element_names(), names(&["x", "y", "z"]));
    assert_eq!((of("points[:].x").fixed_len(), of("points[1:3].x").fixed_len()), (None, Some(2)));
    assert_eq!((of("fixed").fixed_len(), of("fixed[1:]").fixed_len()), (Some(3), Some(2)));
    assert_eq!(of("label").kind(), ValueKind::Strings);
    for (path, parts) in [
        ("liner", &["did you mean \"linear\"", "label"][..]),
        ("linear.w", &["linear has no w", "\"x\", \"y\", \"z\""]),
        ("points.x", &["points is a list", "points[0].x", "points[:].x"]),
        ("label.x", &["one string", "no parts"]),
        ("label[0]", &["not a list"]),
        ("fixed[3]", &["3 elements"]),
        ("fixed[2:2]", &["empty"]),
        ("fixed[a]", &["[2]"]),
        ("", &["empty"]),
        ("a..b", &["name is missing"]),
        ("fixed[1", &["not an index"]),
    ] {
        let error = Extractor::compile(&schema, path).unwrap_err().to_string();
        assert!(parts.iter().all(|p| error.contains(p)) && error.contains("pkg/msg/Main"), "{path}: {error}");
    }
    let wrong = of("label").numbers(&cdr(&[]), &mut Vec::new()).unwrap_err().to_string();
    assert!(wrong.contains("texts") && wrong.contains("numbers"), "{wrong}");
}

#[test]
fn encodings_that_are_not_read_are_named() {
    for (message, definition, part) in
        [("flatbuffer", "flatbuffer", "flatbuffer"), ("", "", "without a name"), ("cdr", "omgidl", "omgidl")]
    {
        let error = Schema::parse(&topic("a/B", message, definition, "")).unwrap_err();
        assert!(matches!(error, DecodeError::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains(part) && error.to_string().contains("ros2msg"), "{error}");
    }
    assert!(matches!(Schema::parse(&topic("a/B", "cdr", "", "")), Err(DecodeError::Definition { .. })));
}

#[test]
fn integers_are_exact_or_refused() {
    let schema = ros2("int64 a\nuint64 b\nfloat64 c");
    let data = cdr(&[&i64::MIN.to_le_bytes(), &u64::MAX.to_le_bytes(), &1.5_f64.to_le_bytes()]);
    let integers = |path: &str| {
        let mut out = Vec::new();
        Extractor::compile(&schema, path).unwrap().integers(&data, &mut out).map(|()| out)
    };
    assert_eq!(integers("a").unwrap(), [i64::MIN]);
    assert!(integers("b").unwrap_err().to_string().contains("int64"));
    assert!(integers("c").unwrap_err().to_string().contains("1.5"));
}

#[test]
fn json_by_schema_and_by_sample() {
    let text = r##"{"type":"object","properties":{
        "timestamp":{"type":"object","properties":{"sec":{"type":"integer"},"nsec":{"type":"integer"}}},
        "pose":{"$ref":"#/definitions/Pose"},
        "data":{"type":"string","contentEncoding":"base64"},
        "names":{"type":"array","items":{"type":"string"}},
        "ok":{"type":["null","boolean"]},"self":{"$ref":"#/properties/self"}},
        "definitions":{"Pose":{"type":"object","properties":{"z":{"type":"number"},"a":{"type":"number"}}}}}"##;
    let data = br#"{"extra":[{"pose":1}],"pose":{"a":1,"z":2.5},"timestamp":{"nsec":6,"sec":5},
        "data":"AQID","names":["j","k"],"ok":true}"#;
    let declared = json(text);
    assert_eq!(StampPlan::compile(&declared).unwrap().stamp_ns(data).unwrap(), 5_000_000_006);
    let pose = Extractor::compile(&declared, "pose").unwrap();
    assert_eq!(pose.element_names().unwrap(), ["z", "a"]);
    assert_eq!(numbers(&declared, "pose", data).unwrap(), [2.5, 1.0]);
    assert_eq!(numbers(&declared, "ok", data).unwrap(), [1.0]);
    assert_eq!(Extractor::compile(&declared, "data").unwrap().kind(), ValueKind::Bytes);
    let mut learned = json("");
    assert!(matches!(Extractor::compile(&learned, "pose"), Err(DecodeError::NeedsSample { .. })));
    learned.learn(data).unwrap();
    assert_eq!(numbers(&learned, "pose.z", data).unwrap(), [2.5]);
    for schema in [declared, learned] {
        assert_eq!(strings(&schema, "names[1]", data).unwrap(), ["k"]);
        let bytes = Extractor::compile(&schema, "data").unwrap();
        assert_eq!(&*bytes.bytes(data).unwrap(), [1, 2, 3]);
        assert_eq!(&*bytes.bytes(br#"{"data":[1,2,255]}"#).unwrap(), [1, 2, 255]);
        for bad in
            [&br#"{"data":[256]}"#[..], br#"{"data":"A*"}"#, br#"{}"#, b"{", br#"{"data":"AQID"} x"#, b"[]"]
        {
            let error = bytes.bytes(bad).unwrap_err().to_string();
            assert!(error.contains("reading data"), "{error}");
        }
    }
}

proptest! {
    #![proptest_config(cases())]

    /// Every kind of number, list and text, written by rules of its own and read back.
    #[test]
    fn what_is_written_is_read(
        flag: bool, small: i8, word: u16, long: i64, float: f32, double: f64,
        list in prop::collection::vec(any::<f64>(), 0..9), names in prop::collection::vec("[a-zä]{0,6}", 0..5),
        big: bool,
    ) {
        let schema = ros2("bool f\nint8 s\nuint16 w\nint64 l\nfloat32 g\nfloat64 d\nfloat64[] list\nstring[] names\nint16 end");
        let mut body: Vec<u8> = Vec::new();
        let put = |body: &mut Vec<u8>, mut le: Vec<u8>| {
            if big { le.reverse(); }
            body.resize(body.len().next_multiple_of(le.len()), 0xAA);
            body.extend(le);
        };
        put(&mut body, vec![u8::from(flag)]);
        put(&mut body, small.to_le_bytes().to_vec());
        put(&mut body, word.to_le_bytes().to_vec());
        put(&mut body, long.to_le_bytes().to_vec());
        put(&mut body, float.to_le_bytes().to_vec());
        put(&mut body, double.to_le_bytes().to_vec());
        put(&mut body, u32::try_from(list.len()).unwrap().to_le_bytes().to_vec());
        list.iter().for_each(|x| put(&mut body, x.to_le_bytes().to_vec()));
        put(&mut body, u32::try_from(names.len()).unwrap().to_le_bytes().to_vec());
        for name in &names {
            put(&mut body, u32::try_from(name.len() + 1).unwrap().to_le_bytes().to_vec());
            body.extend(name.as_bytes());
            body.push(0);
        }
        put(&mut body, (-7_i16).to_le_bytes().to_vec());
        let data = [&[0, u8::from(!big), 0, 0][..], &body].concat();
        let bits = |v: Vec<f64>| v.into_iter().map(f64::to_bits).collect::<Vec<_>>();
        prop_assert_eq!(numbers(&schema, "s", &data).unwrap(), vec![f64::from(small)]);
        prop_assert_eq!(numbers(&schema, "w", &data).unwrap(), vec![f64::from(word)]);
        prop_assert_eq!(bits(numbers(&schema, "g", &data).unwrap()), bits(vec![f64::from(float)]));
        prop_assert_eq!(bits(numbers(&schema, "d", &data).unwrap()), bits(vec![double]));
        prop_assert_eq!(bits(numbers(&schema, "list", &data).unwrap()), bits(list));
        prop_assert_eq!(strings(&schema, "names", &data).unwrap(), names);
        prop_assert_eq!(numbers(&schema, "end", &data).unwrap(), vec![-7.0]);
        let mut exact = Vec::new();
        Extractor::compile(&schema, "l").unwrap().integers(&data, &mut exact).unwrap();
        prop_assert_eq!(exact, vec![long]);
        // Cut anywhere, the last field is an error and never a value.
        let cut = data.len() - 1 - usize::from(small.unsigned_abs()) % data.len().min(60);
        prop_assert!(numbers(&schema, "end", &data[..cut]).is_err());
    }
}
