"""The mapping files of the trials: one for the generated arm, with every choice a keyword.

It only writes text; what a mapping means stands in grid.py."""
import json

from make_recordings import JOINTS


def mapping(cameras=2, *, fps=30, time=None, align=None, tolerance_ms=None, on_missing=None, select=None, command="data",
            velocity=False, gripper=False, scalar=False, shift=None, task=None, task_file=None, pictures="image", video=None, pose=None,
            episodes=None, transform=None, partial=None):
    """A mapping of `cameras` cameras, the joints and the command. `select`: all joints by name; [] leaves the key out.
    `shift`: the action is the state so many frames later. `pictures`: the cameras' kind. `video`: the keys of [video].
    `pose`: a field of /pose. `transform`: what is done to the cameras' pictures. `partial`: that key. `episodes`: the keys of that table; of ranges the task is a text for those that have none."""
    lines = [f"fps = {fps}", 'robot_type = "made-up arm"']
    if time:
        lines.append(f'time = "{time}"')
    lines += ["", "[task]"]
    if task or task_file:
        lines.append(f"text = {json.dumps(task)}" if task else f"file = {json.dumps(task_file)}")
    else:
        lines += ['topic = "/task"', 'field = "data"']

    def feature(name, sources, kind=None, chosen=align):
        lines.extend(["", "[[feature]]", f'name = "{name}"'])
        for key, value in (("kind", kind), ("align", chosen), ("tolerance_ms", tolerance_ms), ("on_missing", on_missing)):
            if value is not None:
                lines.append(f"{key} = {json.dumps(value)}")
        for source in sources:
            lines.append("[[feature.source]]")
            lines.extend(f"{key} = {json.dumps(value)}" for key, value in source.items())

    chosen = {"select": JOINTS if select is None else select} if select != [] else {}
    chosen |= {} if partial is None else {"partial": partial}
    state = [{"topic": "/joint_states", "field": "position"} | chosen]
    if velocity:
        state.append({"topic": "/joint_states", "field": "velocity", "select": ["elbow"]} | ({} if partial is None else {"partial": partial}))
    if gripper:
        state.append({"topic": "/gripper", "field": "data"})
    feature("observation.state", state)
    if pose:
        feature("observation.pose", [{"topic": "/pose"} | pose])
    if scalar:
        feature("observation.gripper", [{"topic": "/gripper", "field": "data"}])
    if shift is None:
        feature("action", [{"topic": "/joint_command", "field": command}])
    else:
        lines.extend(["", "[[feature]]", 'name = "action"', 'from = "observation.state"', f"shift = {shift}"])
        if on_missing:
            lines.append(f'on_missing = "{on_missing}"')
    for camera in range(cameras):
        chosen = None if align is None else "nearest" if align == "linear" else align
        feature(f"observation.images.camera_{camera}", [{"topic": f"/camera_{camera}/image/compressed"}], pictures, chosen)
        at = lines.index("[[feature.source]]", len(lines) - 4)
        lines[at:at] = [f"{key} = {json.dumps(value)}" for key, value in (transform or {}).items()]
    if video:
        lines += ["", "[video]", *(f"{key} = {json.dumps(value)}" for key, value in video.items())]
    if episodes:
        lines += ["", "[episodes]", *(f"{key} = {json.dumps(value)}" for key, value in episodes.items())]
    return "\n".join(lines) + "\n"
