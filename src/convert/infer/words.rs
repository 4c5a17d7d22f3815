//! What names of topics and types say.
//!
//! It knows words only, no messages.

use super::candidate::Role;

const COMMAND_WORDS: [&str; 12] = [
    "command", "commands", "cmd", "cmds", "action", "actions", "target", "targets", "goal", "setpoint",
    "desired", "teleop",
];
const STATE_WORDS: [&str; 15] = [
    "joint", "joints", "pose", "poses", "odom", "odometry", "eef", "tcp", "ee", "gripper", "hand", "arm",
    "proprio", "qpos", "state",
];
const TASK_WORDS: [&str; 4] = ["task", "instruction", "prompt", "language"];
/// Who is followed, whatever else the topic's name says.
const LEADER_WORDS: [&str; 2] = ["leader", "master"];
/// Types that command, whatever the topic's name.
const COMMAND_TYPES: [&str; 5] =
    ["Twist", "JointTrajectory", "AckermannDrive", "AckermannDriveStamped", "JointTrajectoryPoint"];
/// Types that are neither, whatever the topic's name.
const OTHER_TYPES: [&str; 14] = [
    "TFMessage",
    "Log",
    "CameraInfo",
    "CameraExtrinsic",
    "DiagnosticArray",
    "PointCloud2",
    "LaserScan",
    "Imu",
    "Clock",
    "GoalStatusArray",
    "Parameter",
    "ParameterEvent",
    "Marker",
    "MarkerArray",
];
/// Parts of a topic's name that tell nothing of which camera it is.
const CAMERA_FILLERS: [&str; 20] = [
    "image",
    "images",
    "image_raw",
    "image_color",
    "image_rect",
    "image_rect_color",
    "compressed",
    "color",
    "colour",
    "rgb",
    "raw",
    "camera",
    "cameras",
    "sensor",
    "sensors",
    "jpg",
    "jpeg",
    "png",
    "stream",
    "video",
];
/// First parts with a number that are parts of one robot, not robots.
const BODY_PARTS: [&str; 10] =
    ["arm", "hand", "gripper", "leg", "finger", "joint", "camera", "cam", "motor", "wheel"];

/// The words of a name: split at what is no letter or digit, and where a capital begins.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before_lower = false;
    for letter in name.chars() {
        if !letter.is_alphanumeric() || (letter.is_uppercase() && before_lower) {
            words.push(String::new());
        }
        if let (true, Some(word)) = (letter.is_alphanumeric(), words.last_mut()) {
            word.extend(letter.to_lowercase());
        }
        before_lower = letter.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A type's own name, without its package.
pub(super) fn base_type(schema: &str) -> &str {
    schema.rsplit(['/', '.', ':']).next().unwrap_or(schema)
}

/// What a topic of numbers is for, by its names.
pub(super) fn role_of_numbers(topic: &str, schema: &str) -> Option<Role> {
    let base = base_type(schema);
    if OTHER_TYPES.contains(&base) || base.ends_with("_Event") || topic.contains("/_action/") {
        return None;
    }
    let mut all = words(topic);
    all.extend(words(base));
    let has = |list: &[&str]| all.iter().any(|word| list.contains(&word.as_str()));
    if COMMAND_TYPES.contains(&base) || has(&LEADER_WORDS) || names_command(topic) || names_command(base) {
        Some(Role::Action)
    } else if has(&STATE_WORDS) {
        Some(Role::State)
    } else {
        None
    }
}

/// Whether a name says command. Of a topic the last part decides: `/teleop/joint_states` is a state.
fn names_command(name: &str) -> bool {
    let last = name.trim_end_matches('/').rsplit('/').next().unwrap_or(name);
    let of_last = words(last);
    let says = |words: &[String]| words.iter().any(|word| COMMAND_WORDS.contains(&word.as_str()));
    let says_state = of_last.iter().any(|word| matches!(word.as_str(), "state" | "states" | "pose"));
    says(&of_last) || (!says_state && says(&words(name)))
}

/// Whether a text topic gives the task.
pub(super) fn is_task(topic: &str) -> bool {
    words(topic).last().is_some_and(|word| TASK_WORDS.contains(&word.as_str()))
}

/// The particular parts of a camera's topic, cleaned for a feature's name; the last one is the best.
pub(super) fn camera_parts(topic: &str) -> Vec<String> {
    let parts: Vec<String> = topic.split('/').filter(|part| !part.is_empty()).map(clean).collect();
    let particular: Vec<String> = parts
        .iter()
        .filter(|part| !CAMERA_FILLERS.contains(&part.to_lowercase().as_str()))
        .cloned()
        .collect();
    match (particular.is_empty(), parts.iter().find(|part| part.to_lowercase().starts_with("cam"))) {
        (false, _) => particular,
        (true, Some(camera)) => vec![camera.clone()],
        (true, None) => vec![parts.join("_")],
    }
}

fn clean(part: &str) -> String {
    part.chars().map(|letter| if letter.is_alphanumeric() || letter == '-' { letter } else { '_' }).collect()
}

/// The robot that a topic belongs to, where there may be several: the first part's name without its number, and that
/// part. `/turtle1/pose` gives `turtle` and `turtle1`.
pub(super) fn robot(topic: &str) -> Option<(&str, &str)> {
    let (first, _) = topic.trim_start_matches('/').split_once('/')?;
    let family = first.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let name = family.trim_end_matches(['_', '-']);
    let is_part = words(name).iter().any(|word| BODY_PARTS.contains(&word.as_str()));
    (family.len() < first.len() && !name.is_empty() && !is_part).then_some((name, first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_into_words() {
        assert_eq!(words("/left_arm/JointState2"), ["left", "arm", "joint", "state2"]);
        assert_eq!(words("cmd_vel"), ["cmd", "vel"]);
    }

    #[test]
    fn roles_follow_topic_and_type() {
        let role = |topic, schema| role_of_numbers(topic, schema);
        assert_eq!(role("/joint_states", "sensor_msgs/msg/JointState"), Some(Role::State));
        assert_eq!(role("io_teleop/joint_cmd", "sensor_msgs/msg/JointState"), Some(Role::Action));
        assert_eq!(role("io_teleop/joint_states", "sensor_msgs/msg/JointState"), Some(Role::State));
        assert_eq!(role("/turtle2/cmd_vel", "geometry_msgs/Twist"), Some(Role::Action));
        assert_eq!(role("/commands", "demo.Command"), Some(Role::Action));
        assert_eq!(role("/x", "demo.Command"), Some(Role::Action));
        assert_eq!(role("/left/tcp_pose", "geometry_msgs/PoseStamped"), Some(Role::State));
        assert_eq!(role("/goal_pose", "geometry_msgs/PoseStamped"), Some(Role::Action));
        assert_eq!(role("/leader/joint_states", "sensor_msgs/JointState"), Some(Role::Action));
        assert_eq!(role("/battery", "sensor_msgs/BatteryLevel"), None);
        assert_eq!(role("/tf", "tf2_msgs/msg/TFMessage"), None);
        assert_eq!(role("/move/_action/status", "x/Joint"), None);
    }

    #[test]
    fn cameras_are_named_by_what_is_particular() {
        let name = |topic| camera_parts(topic).pop().unwrap();
        assert_eq!(name("/camera_0/image/compressed"), "camera_0");
        assert_eq!(name("/camera/cam_high"), "cam_high");
        assert_eq!(name("/robot/sensor/realsense_head/color/image_raw"), "realsense_head");
        assert_eq!(name("/camera/color/image_raw/compressed"), "camera");
        assert_eq!(name("/image/compressed"), "image_compressed");
        assert_eq!(name("/left wrist/image"), "left_wrist");
    }

    #[test]
    fn numbered_robots_are_told_from_numbered_parts() {
        assert_eq!(robot("/turtle2/pose"), Some(("turtle", "turtle2")));
        assert_eq!(robot("/robot_10/arm/joint_states"), Some(("robot", "robot_10")));
        assert_eq!(robot("/arm_0/joint_states"), None);
        assert_eq!(robot("/left_arm1/joint_states"), None);
        assert_eq!(robot("/turtle/pose"), None);
        assert_eq!(robot("/turtle2"), None);
    }
}
