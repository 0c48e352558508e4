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
	lagging := func(s changes.Seen) changes.Seen { s.Lag = second / 2; return s }
	skewed := func(s changes.Seen) changes.Seen { s.Skew = second / 2; return s }
	after := func(s changes.Seen, prior changes.Kind) changes.Seen {
		s.Prior = &changes.Prior{Kind: prior, At: stone - second/2}
		return s
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
		{"deleted, and told late", has(early), lagging(marked(changes.Deleted)), told + second/2, 0, changes.Drop},
		{"deleted, told late, and loaded here between", has(stone + second/4), lagging(marked(changes.Deleted)), told + second/2, 0, changes.Keep},
		{"set in vain, told late, and loaded here between", has(stone + second/4), lagging(marked(changes.Lost)), told + second/2, 0, changes.Keep},

		{"deleted unheard, by a clock that may be behind", has(stone + second/4), skewed(marked(changes.Deleted)), changes.BySweep, 0, changes.Refresh},
		{"set unheard, by a clock that may be behind", has(stone + second/4), skewed(both(changes.Replaced, stone)), changes.BySweep, 0, changes.Refresh},
		{"set unheard, there was none just after", none(stone + second/4), skewed(both(changes.Replaced, stone)), changes.BySweep, 0, changes.Drop},
		{"deleted unheard, there was none just after", none(stone + second/4), skewed(marked(changes.Deleted)), changes.BySweep, 0, changes.Keep},
		{"invalidated unheard, by a clock that may be behind", has(stone + second/4), skewed(marked(changes.Invalidated)), changes.BySweep, 0, changes.Invalidate},
		{"deleted unheard, and loaded here much later", has(late), skewed(marked(changes.Deleted)), changes.BySweep, 0, changes.Keep},
		{"deleted unheard, and got elsewhere later still", has(stone + second/4), skewed(both(changes.Deleted, late)), changes.BySweep, 0, changes.Adopt},
		{"by a process of before, which says not when", has(early), skewed(changes.Seen{Stone: true}), changes.BySweep, 0, changes.Keep},

		{"deleted, then invalidated", has(early), after(marked(changes.Invalidated), changes.Deleted), told, 0, changes.Drop},
		{"deleted, then invalidated, unheard", has(early), after(marked(changes.Invalidated), changes.Deleted), changes.BySweep, 0, changes.Drop},
		{"set, then invalidated", has(early), after(marked(changes.Invalidated), changes.Replaced), told, 0, changes.Refresh},
		{"set, adopted, then invalidated", has(stone - second/2), after(marked(changes.Invalidated), changes.Replaced), told, 0, changes.Invalidate},
		{"deleted, loaded here, then invalidated", has(stone - second/4), after(marked(changes.Invalidated), changes.Deleted), told, 0, changes.Invalidate},
		{"deleted, invalidated, and loaded here", has(late), after(marked(changes.Invalidated), changes.Deleted), changes.BySweep, 0, changes.Keep},
		{"invalidated before it was loaded here", has(late), marked(changes.Invalidated), changes.ByDate, 0, changes.Keep},
	} {
		if got := changes.Judge(x.have, x.found, x.told, x.tries); got != x.want {
			t.Errorf("%s: %v, want %v", x.what, got, x.want)
		}
	}
}
