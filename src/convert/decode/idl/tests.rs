//! Definitions in IDL give the types that the same definitions give as `ros2msg`; what is not read says so.

use super::super::rosmsg::{self, Ros};
use super::*;
use crate::convert::testing::cases;
use proptest::prelude::*;

const IDL: &str = r#"================================================================================
IDL: demo/msg/Sample
// generated from rosidl_adapter/resource/msg.idl.em
#include "std_msgs/msg/Header.idl"

module demo {
  module msg {
    typedef double double__9[9];
    typedef std_msgs::msg::Header Head;
    module Sample_Constants {
      @verbatim (language="comment", text="a } and a ;")
      const uint8 DEBUG = 10;
    };
    enum Mode { @value(3) FAST, SLOW };
    @verbatim (language="comment", text=
      "What it is" "\n" "in \"two\" lines")
    struct Sample {
      Head header; /* of the
      moment */
      @unit (value="rad") sequence<double> position;
      sequence<demo::msg::Part, 4> parts;
      double__9 k;
      string<5> bounded;
      @default (value=TRUE) boolean on, off;
      unsigned long long large;
      octet raw[16];
      sequence<uint8> data;
      wstring wide;
      Mode mode;
      int8 small;
    };
    struct Part { float x; long y; };
  };
};
================================================================================
IDL: std_msgs/msg/Header
module std_msgs { module msg {
  struct Header { builtin_interfaces::msg::Time stamp; string frame_id; };
}; };
================================================================================
IDL: builtin_interfaces/msg/Time
module builtin_interfaces { module msg { struct Time { long sec; unsigned long nanosec; }; }; };
"#;

const MSG: &str = "std_msgs/Header header
float64[] position
demo/Part[<=4] parts
float64[9] k
string bounded
bool on
bool off
uint64 large
uint8[16] raw
uint8[] data
wstring wide
uint32 mode
int8 small
===
MSG: demo/Part
float32 x
int32 y
===
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
===
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
";

/// A type with all that it holds, without the numbers of structs.
fn written(types: &Types, index: usize) -> String {
    let fields = types.fields(index).iter().map(|field| match field.kind {
        Kind::Primitive(primitive) => format!("{} {primitive:?} {:?};", field.name, field.count),
        Kind::Struct(inner) => format!("{} {{{}}} {:?};", field.name, written(types, inner), field.count),
    });
    format!("{} {}", types.struct_name(index), fields.collect::<String>())
}

#[test]
fn idl_gives_the_types_of_the_same_message_as_text() {
    let ours = parse("demo/msg/Sample", IDL.as_bytes()).unwrap();
    let same = rosmsg::parse("demo/msg/Sample", MSG.as_bytes(), Ros::Two).unwrap();
    assert_eq!(written(&ours, 0), written(&same, 0));
    let empty = "module a { module msg { struct E { uint8 structure_needs_at_least_one_member; }; }; };";
    assert!(parse("a/msg/E", empty.as_bytes()).unwrap().fields(0)[0].hidden);
}

#[test]
fn what_is_not_read_is_named() {
    let of = |inside: &str| {
        let text = format!("module a {{ module msg {{ {inside} }}; }};");
        parse("a/msg/T", text.as_bytes()).unwrap_err().to_string()
    };
    for (inside, word) in [
        ("struct T { map<string, long> m; };", "`map`"),
        ("union T switch (long) { case 1: long x; };", "`union`"),
        ("struct T : Base { long x; };", "inherits"),
        ("struct T { long x[2][3]; };", "array of arrays"),
        ("struct T { long x[N]; };", "`N` is not a length"),
        ("struct T { Gone x; };", "Gone is not declared"),
        ("struct Other { long x; };", "no struct a/T"),
        ("typedef B A; typedef A B; struct T { A x; };", "leads to itself"),
        ("struct T { T x; };", "contain themselves"),
        ("struct T { long x", "`;` was expected"),
        ("struct T { long double x; };", "`long double`"),
    ] {
        let error = of(inside);
        assert!(error.contains(word), "{inside}: {error}");
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_text_is_read_or_refused(
        edits in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"{}<>;:@\"(,[]#/ ax1=\n".to_vec())), 0..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
        noise in "\\PC{0,60}",
    ) {
        let mut text = IDL.as_bytes().to_vec();
        for (at, with) in edits {
            let at = at.index(text.len());
            text[at] = with;
        }
        if let Some(cut) = cut {
            text.truncate(cut.index(text.len()));
        }
        let _ = parse("demo/msg/Sample", &text);
        let _ = parse("demo/msg/Sample", noise.as_bytes());
    }
}
