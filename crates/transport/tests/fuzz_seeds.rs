//! The fuzz target's seeds and a run of changed ones, as an ordinary test.

use outpost_transport::fuzz_serial_line;

/// A record of [`fuzz_serial_line`]: a frame with this body.
fn frame(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&[body.len() as u8][..], &body].concat()
}

/// A frame with the next bytes of the stream.
fn data(number: u16, offset: u16, acknowledged: u16, stream: &[u8]) -> Vec<u8> {
    let (number, offset, acknowledged) = (number.to_le_bytes(), offset.to_le_bytes(), acknowledged.to_le_bytes());
    frame(&[&[2], &number, &offset, &acknowledged, &[0xff; 4], stream])
}

/// Inputs that reach each part, and what becomes of channels by each.
fn seeds() -> Vec<(Vec<u8>, usize)> {
    let hello = frame(&[&[1, 1], &[7, 0, 0, 0], &[0xcd, 0xab, 0, 0]]);
    let open = [1, 2, 0, 0];
    // Accepts what the line opened, sends on it, grants, stops, ends.
    let mut stream = [&open[..], &[2, 1, 0, 0], &[4, 1, 5, 0], b"bytes", &[5, 1, 4, 0, 0, 0, 0, 0]].concat();
    stream.extend([&[7, 1, 0, 0][..], &[6, 1, 0, 0], &[6, 2, 0, 0]].concat());
    let (first, second) = stream.split_at(11);
    vec![
        ([&hello[..], &data(1, 0, 0, &stream), &data(2, stream.len() as u16, 1, &[])].concat(), 4),
        ([&hello[..], &data(2, 11, 0, second), &data(1, 0, 1, first), &[0x83, 1, 2, 3]].concat(), 4),
        ([&hello[..], &data(1, 0, 0, &[3, 1, 2, 0, b'n', b'o']), &frame(&[&[3, 1, 0], &[0; 4]])].concat(), 1),
        ([&hello[..], &data(1, 0, 0, &open), &[0x81, 0], &data(2, 4, 2, &[]), &frame(&[&[4, 7, 0, 0, 0]])].concat(), 3),
        ([&hello[..], &frame(&[&[1, 1, 8, 0, 0, 0, 0, 0, 0, 0]]), &data(1, 0, 0, &open)].concat(), 2),
        ([&frame(&[&[1, 9, 7, 0, 0, 0, 0, 0, 0, 0]])[..], &data(9, 9, 9, b"early")].concat(), 0),
    ]
}

#[test]
fn seeds_and_their_mutations_do_no_harm() {
    // A fixed sequence (xorshift64), so that a failure comes again.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let rounds: usize = std::env::var("OUTPOST_FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(300);
    let seeds = seeds();
    for (seed, events) in &seeds {
        assert_eq!(fuzz_serial_line(seed), *events, "{seed:?}");
        for _ in 0..rounds {
            let mut changed = seed.clone();
            for _ in 0..=random(6) {
                let at = random(changed.len());
                match random(5) {
                    0 => changed[at] = random(256) as u8,
                    1 => changed[at] ^= 1 << random(8),
                    2 => changed.truncate(at.max(1)),
                    3 => changed.extend_from_slice(&seeds[random(seeds.len())].0),
                    _ => changed[at] = [0, 1, 0x7f, 0x80, 0xff][random(5)],
                }
            }
            let _ = fuzz_serial_line(&changed);
        }
    }
}
