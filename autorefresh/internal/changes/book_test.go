package changes_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-go/holdfast/autorefresh/internal/changes"
)

// play takes looks at the times that the book says, as if a look took no time, and returns when
// each key was looked up first since the beginning.
func play(b *changes.Book[int], from, to int64, see func(at int64, look changes.Look[int]) (failed bool)) {
	for now := from; now <= to; {
		look, at := b.Next(now)
		if len(look.Keys) == 0 && !look.All {
			now = max(at, now+1)
			continue
		}
		if see(now, look) {
			b.Fail(look, now)
		} else {
			b.Done()
		}
	}
}

const second = int64(time.Second)

func TestAGapIsLookedUpOverHalfASecond(t *testing.T) {
	const n = 100_000
	b := changes.NewBook[int]()
	keys := rand.Perm(n)
	b.Gap(keys, second)
	seen := make(map[int]int64)
	all := 0
	var most int
	play(b, second, 3*second, func(at int64, look changes.Look[int]) bool {
		if look.All {
			all++
		}
		most = max(most, len(look.Keys))
		for _, w := range look.Keys {
			if _, twice := seen[w.Key]; twice {
				t.Fatalf("key %d is looked up twice", w.Key)
			}
			seen[w.Key] = at
		}
		if share := float64(len(seen)) / n; share > float64(at-second)/float64(second/2)+0.01 {
			t.Fatalf("%.3f of all keys are looked up within %v", share, time.Duration(at-second))
		}
		return false
	})
	if len(seen) != n || all != 1 || most > 256 {
		t.Errorf("%d of %d keys and %d times their tombstone are looked up, %d at once at most", len(seen), n, all, most)
	}
	for key, at := range seen {
		if at > second+second/2+1000 {
			t.Fatalf("key %d is looked up after %v", key, time.Duration(at-second))
		}
	}
}

// Whatever is told, in whatever order, and however many looks fail: each key is looked up
// successfully after it was told last, soon, with the latest time at which its tombstone was told.
func TestWhatIsToldIsLookedUp(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := changes.NewBook[int]()
		lastTold, stone := make(map[int]int64), make(map[int]int64)
		done := make(map[int]int64)
		fails := rapid.IntRange(0, 3).Draw(rt, "failures")
		see := func(at int64, look changes.Look[int]) bool {
			if rapid.IntRange(0, 9).Draw(rt, "luck") < fails {
				return true
			}
			for _, w := range look.Keys {
				done[w.Key] = at
				if w.Told >= stone[w.Key] {
					delete(stone, w.Key)
				}
			}
			return false
		}
		now := second
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			key := rapid.IntRange(0, 600).Draw(rt, "key")
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0:
				keys := make([]int, 600)
				for i := range keys {
					keys[i] = i
				}
				b.Gap(keys, now)
				for _, key := range keys {
					lastTold[key] = now
				}
			case 1, 2, 3:
				b.Tell(key, true, now)
				lastTold[key], stone[key] = now, now
			default:
				b.Tell(key, false, now)
				lastTold[key] = now
			}
			next := now + rapid.Int64Range(0, second/5).Draw(rt, "pause")
			play(b, now, next, see)
			now = next + 1
		}
		fails = 0
		play(b, now, now+3*second, see)
		for key, at := range lastTold {
			if done[key] < at {
				rt.Fatalf("key %d was told at %d, and looked up last at %d", key, at, done[key])
			}
		}
		if len(stone) > 0 {
			rt.Fatalf("keys, by when their tombstones were told, that were not looked up because of these: %v", stone)
		}
	})
}

func TestAnAnnouncedValueIsLookedForAgain(t *testing.T) {
	b := changes.NewBook[int]()
	b.Tell(1, true, second)
	var looks []int64
	play(b, second, 20*second, func(at int64, look changes.Look[int]) bool {
		looks = append(looks, at)
		if w := look.Keys[0]; changes.Judge(changes.Held{}, changes.Seen{Stone: true, Kind: changes.Replaced, At: second}, w.Told, w.Tries) == changes.Again {
			b.Again(w, at)
		}
		return false
	})
	if n, took := len(looks), looks[len(looks)-1]-second; n != 9 || took < 2*second || took > 3*second {
		t.Errorf("%d looks within %v", n, time.Duration(took))
	}
}

func TestLooksThatFailAreRepeatedLessAndLessOften(t *testing.T) {
	b := changes.NewBook[int]()
	b.Tell(1, false, second)
	n := 0
	play(b, second, 61*second, func(int64, changes.Look[int]) bool { n++; return true })
	if n < 50 || n > 80 {
		t.Errorf("%d looks in a minute in which all fail", n)
	}
}

// Changes that are missed again and again, such as by a poll that lags behind a fast writer, began
// the look for all keys anew each time: the last of them never had their turn.
func TestGapsThatComeOnAndOnKeepNoKeyFromItsTurn(t *testing.T) {
	const n = 10_000
	b := changes.NewBook[int]()
	keys := make([]int, n)
	for i := range keys {
		keys[i] = i
	}
	last := make([]int64, n)
	for now := second; now < 6*second; now += second / 10 {
		b.Gap(keys, now)
		play(b, now, now+second/10-1, func(at int64, look changes.Look[int]) bool {
			for _, w := range look.Keys {
				last[w.Key] = at
			}
			return false
		})
		for key, at := range last {
			if now > 3*second && now-at > second+second/10 {
				t.Fatalf("key %d has not been looked up for %v", key, time.Duration(now-max(at, second)))
			}
		}
	}
}
