//! The first picture of each camera, inside the page.

use super::super::Report;
use super::escape::{Name, Text};
use crate::readable::{bytes, clock};
use std::io::{self, Write};

pub(super) fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let seen = || report.topics.iter().filter_map(|topic| Some((topic, topic.details.as_ref()?)));
    let cameras = || seen().filter(|(_, details)| details.picture.is_some() || details.no_picture.is_some());
    if cameras().next().is_none() {
        return Ok(());
    }
    writeln!(out, "<h2>Cameras</h2>\n<div class=\"pictures\">")?;
    for (topic, details) in cameras() {
        let (name, shown) = (Text(&topic.name), Name(&topic.name));
        writeln!(out, "<figure class=\"card\">")?;
        if let Some(picture) = &details.picture {
            let (media_type, base64) = (picture.media_type, &picture.base64);
            writeln!(
                out,
                "<img src=\"data:{media_type};base64,{base64}\" alt=\"The first picture of {name}\">"
            )?;
            let at = clock(report.since_start_s(picture.log_ns));
            let size = bytes(picture.bytes as u64);
            writeln!(
                out,
                "<figcaption>{shown}<br><span class=\"soft\">{}, {size}, at {at}</span></figcaption>",
                Text(&picture.shown)
            )?;
        } else {
            let why = details.no_picture.as_deref().unwrap_or_default();
            writeln!(
                out,
                "<figcaption>{shown}<br><span class=\"soft\">no picture: {}</span></figcaption>",
                Text(why)
            )?;
        }
        writeln!(out, "</figure>")?;
    }
    writeln!(out, "</div>")
}
