//! Ids as the shop makes them: UUIDv7, whose first 48 bits are the time of their making and whose others are
//! by chance.

use super::random::Random;

/// Bits of an UUID that are by chance in version 7.
const CHANCE: u128 = 0x0FFF_3FFF_FFFF_FFFF_FFFF;
const VERSION: u128 = 7 << 76;
const VARIANT: u128 = 0b10 << 62;

/// Returns a new id of this moment, in milliseconds since 1970.
pub(crate) fn new_id(millis: u64, random: &mut Random) -> u128 {
    let time = u128::from(millis & 0xFFFF_FFFF_FFFF) << 80;
    time | VERSION | VARIANT | bits(random) & CHANCE
}

fn bits(random: &mut Random) -> u128 {
    (u128::from(random.draw()) << 64) | u128::from(random.draw())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Returns an id of version 4, which is all by chance.
    pub(crate) fn random_id(random: &mut Random) -> u128 {
        let chance = 0xFFFF_FFFF_FFFF_0000_0000_0000_0000_0000 | CHANCE;
        bits(random) & chance | 4 << 76 | VARIANT
    }

    #[test]
    fn an_id_has_its_time_its_version_and_chance() {
        let mut random = Random::of(1, 1);
        let (first, second) = (
            new_id(0x0123_4567_89AB, &mut random),
            new_id(1, &mut random),
        );
        let text = format!("{first:032x}");
        assert_eq!(&text[..13], "0123456789ab7");
        assert!("89ab".contains(&text[16..17]), "{text}");
        assert_ne!(first & CHANCE, second & CHANCE);
        assert!(second < first, "ids sort by time");
        assert_eq!(&format!("{:032x}", random_id(&mut random))[12..13], "4");
    }
}
