//! Moving pictures as cameras over a table take them, for measurements: a textured ground, a thing that wanders over it,
//! and noise in every frame. A function of the numbers given, in whole numbers and one table of sines.

/// How far the camera wanders over the ground, in pixels.
const ROAM: usize = 256;
/// Side of the patch of noise that is laid over frames at different places.
const NOISE_SIDE: usize = 64;
/// The noise goes from minus this to plus this.
const NOISE: i32 = 9;
/// Grains of the ground: pixels between two points of a lattice, and how much each weighs.
const GRAINS: [(usize, i32); 5] = [(128, 8), (48, 5), (16, 3), (6, 2), (3, 1)];

/// What one camera sees.
pub(super) struct Scene {
    width: usize,
    height: usize,
    /// Red, green and blue, of a ground larger than a picture.
    ground: Vec<u8>,
    noise: Vec<i8>,
    camera: u32,
}

impl Scene {
    pub(super) fn new(width: usize, height: usize, camera: u32) -> Self {
        let (wide, high) = (width + ROAM, height + ROAM);
        let mut ground = Vec::with_capacity(wide * high * 3);
        for y in 0..high {
            for x in 0..wide {
                for channel in 0..3 {
                    ground.push(shade(x, y, camera * 3 + channel));
                }
            }
        }
        let cell = |at: u32| (mix(at, camera, 0xa5) % (2 * NOISE as u32 + 1)) as i32 - NOISE;
        let side = (NOISE_SIDE * NOISE_SIDE * 3) as u32;
        Self { width, height, ground, noise: (0..side).map(|at| cell(at) as i8).collect(), camera }
    }

    /// A frame as red, green and blue; `period` frames make a round.
    pub(super) fn frame(&self, number: u32, period: u32) -> Vec<u8> {
        let turn = f64::from(number % period) / f64::from(period) * std::f64::consts::TAU;
        let swing = |by: f64, room: usize| ((0.5 + 0.45 * by) * room as f64) as usize;
        let camera = f64::from(self.camera);
        let (left, top) = (swing((turn + camera).cos(), ROAM), swing((turn + 2.0 * camera).sin(), ROAM));
        let (thing_w, thing_h) = (self.width / 5, self.height / 3);
        let thing_x = swing((2.0 * turn).cos(), self.width - thing_w);
        let thing_y = swing((3.0 * turn).sin(), self.height - thing_h);
        let (shift_x, shift_y) = (number as usize * 23, number as usize * 37);
        let mut frame = Vec::with_capacity(self.width * self.height * 3);
        for y in 0..self.height {
            for x in 0..self.width {
                let in_thing =
                    (thing_x..thing_x + thing_w).contains(&x) && (thing_y..thing_y + thing_h).contains(&y);
                // The thing carries its own texture with it.
                let (from_x, from_y) =
                    if in_thing { (x - thing_x, y - thing_y) } else { (x + left, y + top) };
                let at = (from_y * (self.width + ROAM) + from_x) * 3;
                let grain = ((y + shift_y) % NOISE_SIDE * NOISE_SIDE + (x + shift_x) % NOISE_SIDE) * 3;
                for channel in 0..3 {
                    let ground = self.ground.get(at + channel).copied().unwrap_or(0);
                    let noise = self.noise.get(grain + channel).copied().unwrap_or(0);
                    frame.push(if in_thing { 255 - ground } else { ground }.saturating_add_signed(noise));
                }
            }
        }
        frame
    }
}

/// The ground's value at a place: smooth noise of several grains, 16 to 239.
fn shade(x: usize, y: usize, layer: u32) -> u8 {
    let (mut sum, mut weights) = (0, 0);
    for (grain, weight) in GRAINS {
        let (column, row) = ((x / grain) as u32, (y / grain) as u32);
        let (right, down) = ((x % grain) as i32, (y % grain) as i32);
        let grain = grain as i32;
        let corner = |dx: u32, dy: u32| (mix(column + dx, row + dy, layer ^ grain as u32) & 0xff) as i32;
        let above = corner(0, 0) * (grain - right) + corner(1, 0) * right;
        let below = corner(0, 1) * (grain - right) + corner(1, 1) * right;
        sum += (above * (grain - down) + below * down) / (grain * grain) * weight;
        weights += weight;
    }
    (sum / weights).clamp(16, 239) as u8
}

/// Three numbers to one without a pattern.
fn mix(a: u32, b: u32, c: u32) -> u32 {
    let mut x = a.wrapping_mul(0x9e37_79b1)
        ^ b.wrapping_mul(0x85eb_ca77).rotate_left(13)
        ^ c.wrapping_mul(0xc2b2_ae3d);
    x = (x ^ (x >> 15)).wrapping_mul(0x2c1b_3c6d);
    x = (x ^ (x >> 12)).wrapping_mul(0x297a_2d39);
    x ^ (x >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_full_differ_and_come_again() {
        let scene = Scene::new(48, 32, 1);
        let frames: Vec<Vec<u8>> = (0..10).map(|number| scene.frame(number, 10)).collect();
        assert!(frames.iter().all(|frame| frame.len() == 48 * 32 * 3));
        assert!(frames.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!(Scene::new(48, 32, 1).frame(3, 10), frames[3]);
        assert_ne!(Scene::new(48, 32, 2).frame(3, 10), frames[3], "another camera");
    }
}
