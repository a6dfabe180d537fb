//! The pseudo-randomiser of CCSDS 131.0-B: a sequence of 255 bytes that a sender adds to each frame, so that the signal
//! has enough edges. To add it again takes it away.

/// The sequence, from the polynomial x^8 + x^7 + x^5 + x^3 + 1 with every bit of the register set. It repeats.
const SEQUENCE: [u8; 255] = sequence();

const fn sequence() -> [u8; 255] {
    let mut bytes = [0; 255];
    let mut register = 0xff_u8;
    let mut bit = 0;
    while bit < 255 * 8 {
        bytes[bit / 8] = bytes[bit / 8] << 1 | register & 1;
        let next = (register ^ register >> 3 ^ register >> 5 ^ register >> 7) & 1;
        register = register >> 1 | next << 7;
        bit += 1;
    }
    bytes
}

/// The sequence eight times over, in words: a build for size takes a loop over bytes as it is written.
const WORDS: [[u8; 8]; 255] = words();

const fn words() -> [[u8; 8]; 255] {
    let mut words = [[0; 8]; 255];
    let mut at = 0;
    while at < 255 * 8 {
        words[at / 8][at % 8] = SEQUENCE[at % 255];
        at += 1;
    }
    words
}

/// Adds the sequence to a frame, or takes it away.
pub fn randomise(frame: &mut [u8]) {
    let (pieces, rest) = frame.as_chunks_mut::<8>();
    let mut noise = WORDS.iter().cycle();
    for (piece, noise) in pieces.iter_mut().zip(&mut noise) {
        *piece = (u64::from_ne_bytes(*piece) ^ u64::from_ne_bytes(*noise)).to_ne_bytes();
    }
    // `zip` asks for the next piece first, so that no noise is lost at the end of them.
    for (byte, noise) in rest.iter_mut().zip(noise.next().unwrap_or(&[0; 8])) {
        *byte ^= noise;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_sequence_of_the_standard() {
        // The first 40 bits, as CCSDS 131.0-B prints them.
        assert_eq!(SEQUENCE[..5], [0xff, 0x48, 0x0e, 0xc0, 0x9a]);
        // A register of eight bits that visits every state but 0 gives 128 ones in 255 bits; eight times over here.
        let ones: u32 = SEQUENCE.iter().map(|byte| byte.count_ones()).sum();
        assert_eq!(ones, 128 * 8);
    }

    #[test]
    fn words_are_bytes() {
        for length in [0, 1, 7, 8, 9, 255, 2040, 2047, 3000] {
            let mut frame = vec![0; length];
            randomise(&mut frame);
            let wanted: Vec<u8> = SEQUENCE.into_iter().cycle().take(length).collect();
            assert_eq!(frame, wanted, "{length} bytes");
        }
    }

    #[test]
    fn twice_is_nothing() {
        for length in [0, 1, 254, 255, 256, 1115] {
            let frame: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
            let mut changed = frame.clone();
            randomise(&mut changed);
            assert_eq!(changed == frame, length == 0);
            randomise(&mut changed);
            assert_eq!(changed, frame);
        }
    }
}
