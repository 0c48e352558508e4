package changes_test

import (
	"testing"

	"github.com/holdfast-go/holdfast/autorefresh/internal/changes"
)

func TestJudge(t *testing.T) {
	const (
		early = second
		stone = 2 * second
		told  = stone + 1000
		late  = 3 * second
	)
	has := func(loadedAt int64) changes.Held { return changes.Held{LoadedAt: loadedAt} }
	none := func(at int64) changes.Held { return changes.Held{LoadedAt: at, Negative: true} }
	value := func(at int64) changes.Seen { return changes.Seen{Value: true, LoadedAt: at} }
	marked := func(k changes.Kind) changes.Seen { return changes.Seen{Stone: true, Kind: k, At: stone} }
	both := func(k changes.Kind, at int64) changes.Seen {
		return changes.Seen{Value: true, LoadedAt: at, Stone: true, Kind: k, At: stone}
	}
	for _, x := range []struct {
		what  string
		have  changes.Held
		found changes.Seen
		told  int64
		tries int
		want  changes.Verdict
	}{
		{"nothing there", has(early), changes.Seen{}, changes.ByDate, 0, changes.Keep},
		{"a newer value", has(early), value(late), changes.ByDate, 0, changes.Adopt},
		{"its own value", has(early), value(early + 1000), changes.ByDate, 0, changes.Keep},
		{"an older value", has(late), value(early), changes.ByDate, 0, changes.Keep},
		{"there is one after all", none(early), value(late), changes.ByDate, 0, changes.Drop},

		{"deleted", has(early), marked(changes.Deleted), told, 0, changes.Drop},
		{"about to be deleted", has(early), both(changes.Deleted, early+second/2), told, 0, changes.Drop},
		{"deleted, by a clock that is behind", has(stone + 500), marked(changes.Deleted), told, 0, changes.Drop},
		{"deleted before it was loaded here", has(late), marked(changes.Deleted), told, 0, changes.Keep},
		{"deleted and loaded again", has(early), both(changes.Deleted, late), told, 0, changes.Adopt},
		{"deleted unheard", has(early), marked(changes.Deleted), changes.ByDate, 0, changes.Drop},
		{"deleted unheard, before it was loaded here", has(late), marked(changes.Deleted), changes.ByDate, 0, changes.Keep},
		{"there was none anyway", none(early), marked(changes.Deleted), told, 0, changes.Keep},

		{"set", has(early), both(changes.Replaced, stone), told, 0, changes.Adopt},
		{"set, by a clock that is behind", has(stone + 500), both(changes.Replaced, stone), told, 0, changes.Adopt},
		{"about to be set", has(early), both(changes.Replaced, early), told, 0, changes.Again},
		{"set and never stored", has(early), marked(changes.Replaced), told, 8, changes.Refresh},
		{"set before it was loaded here", has(late), both(changes.Replaced, stone), told, 0, changes.Keep},
		{"set where there was none", none(early), marked(changes.Replaced), told, 0, changes.Drop},

		{"set, and lost", has(early), marked(changes.Lost), told, 0, changes.Refresh},
		{"set, lost, and got again", has(early), both(changes.Lost, late), told, 0, changes.Adopt},
		{"by a process of before", has(early), changes.Seen{Stone: true}, told, 0, changes.Refresh},
		{"by a process of before, with an old value", has(early), changes.Seen{Stone: true, Value: true, LoadedAt: early}, told, 0, changes.Refresh},
		{"by a process of before, unheard", has(early), changes.Seen{Stone: true}, changes.ByDate, 0, changes.Keep},

		{"set unheard, at the same moment", has(stone), both(changes.Replaced, stone), changes.BySweep, 0, changes.Adopt},
		{"what was set is there", has(stone), both(changes.Replaced, stone), changes.ByDate, 0, changes.Keep},
		{"set unheard, before it was loaded here", has(late), both(changes.Replaced, stone), changes.BySweep, 0, changes.Keep},
		{"deleted unheard, found with all others", has(early), marked(changes.Deleted), changes.BySweep, 0, changes.Drop},

		{"invalidated", has(early), marked(changes.Invalidated), told, 0, changes.Invalidate},
		{"invalidated and got again", has(early), both(changes.Invalidated, late), told, 0, changes.Adopt},
		{"invalidated before it was loaded here", has(late), marked(changes.Invalidated), changes.ByDate, 0, changes.Keep},
	} {
		if got := changes.Judge(x.have, x.found, x.told, x.tries); got != x.want {
			t.Errorf("%s: %v, want %v", x.what, got, x.want)
		}
	}
}
