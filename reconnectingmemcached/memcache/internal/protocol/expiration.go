package protocol

import "time"

// LongestRelative is the longest time that memcached takes for one: beyond, it takes seconds for a
// date.
const LongestRelative = 30 * 24 * time.Hour

// Seconds is a time as memcached takes it.
func Seconds(d time.Duration) int32 { return int32(d / time.Second) } //nolint:gosec // some weeks at most.

// ExpirationIn is that of an item with so many seconds left and 1, or 0 for no end. Of many
// seconds, memcached takes a date.
func ExpirationIn(left uint64, now time.Time) int32 {
	if left == 0 {
		return 0
	}
	left--
	if left > uint64(LongestRelative/time.Second) {
		left += uint64(now.Unix()) //nolint:gosec // after 1970.
	}
	return int32(min(left, 1<<31-1)) //nolint:gosec // bounded.
}

// CopyExpiration is that of a copy of an item with the expiration given, in seconds. A date counts
// by this machine's clock.
func CopyExpiration(expiration int32, life time.Duration, now time.Time) int32 {
	most := int64(life / time.Second)
	left := int64(expiration)
	if left > int64(LongestRelative/time.Second) {
		left -= now.Unix()
		if left <= 0 {
			return -1 // as memcached takes a date in the past
		}
	}
	if left == 0 || left > most {
		left = most
	}
	return int32(left) //nolint:gosec // most is at most 30 days, in seconds.
}
