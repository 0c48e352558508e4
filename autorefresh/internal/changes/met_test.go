package changes_test

import (
	"testing"

	"github.com/holdfast-go/holdfast/autorefresh/internal/changes"
)

func TestWhatWasGotAfterATombstoneWasMetIsNotDoubted(t *testing.T) {
	var m changes.Met[int]
	found := changes.Seen{Stone: true, Kind: changes.Deleted, At: second, Skew: 60 * second}
	for _, x := range []struct {
		what     string
		at       int64
		loadedAt int64
		now      int64
		want     int64
	}{
		{"met now", second, 2 * second, 3 * second, found.Skew},
		{"got before that", second, 2 * second, 4 * second, found.Skew},
		{"got since", second + 10, 4 * second, 5 * second, 0},
		{"another tombstone", 5 * second, 6 * second, 7 * second, found.Skew},
		{"got since it was met", 5 * second, 8 * second, 9 * second, 0},
	} {
		found.At = x.at
		if got := m.Skew(1, found, x.loadedAt, x.now); got != x.want {
			t.Errorf("%s: %d, want %d", x.what, got, x.want)
		}
	}
	if got := m.Skew(2, found, 8*second, 9*second); got != found.Skew {
		t.Errorf("another key: %d, want %d", got, found.Skew)
	}
}
