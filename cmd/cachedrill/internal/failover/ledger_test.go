package failover_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/failover"
)

// without returns a primary that has all keys but those.
func without(missing ...string) func(context.Context, []string) (map[string]bool, error) {
	return func(_ context.Context, keys []string) (map[string]bool, error) {
		present := make(map[string]bool)
		for _, key := range keys {
			present[key] = true
		}
		for _, key := range missing {
			delete(present, key)
		}
		return present, nil
	}
}

func TestAWriteIsLostOnceInThePhaseThatLostIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l failover.Ledger
		for i, key := range []string{"a", "b", "c"} {
			l.Acknowledged(key, time.Now().Add(time.Duration(i)))
		}
		for i, phase := range []struct {
			missing []string
			lost    int
		}{{nil, 0}, {[]string{"b"}, 1}, {[]string{"b"}, 0}, {[]string{"a", "b", "c"}, 2}, {[]string{"a", "b", "c"}, 0}} {
			l.Begin(time.Now())
			if lost, _, err := l.Audit(t.Context(), without(phase.missing...)); err != nil || lost != phase.lost {
				t.Errorf("phase %d without %q: %d writes lost, %v, want %d", i, phase.missing, lost, err, phase.lost)
			}
		}
	})
}

// A write acknowledged while the primary is asked cannot be in its answer.
func TestAWriteAcknowledgedDuringTheAuditIsNotLost(t *testing.T) {
	var l failover.Ledger
	l.Acknowledged("early", time.Now())
	lost, _, err := l.Audit(t.Context(), func(ctx context.Context, keys []string) (map[string]bool, error) {
		l.Acknowledged("meanwhile", time.Now())
		return without()(ctx, keys)
	})
	if err != nil || lost != 0 {
		t.Errorf("%d writes lost, %v, want none", lost, err)
	}
	if lost, _, _ := l.Audit(t.Context(), without("meanwhile")); lost != 1 {
		t.Errorf("%d writes lost after that, want the one that was not asked for at first", lost)
	}
}

func TestTheLongestGapIsBetweenWritesThatWereKept(t *testing.T) {
	for _, c := range []struct {
		name    string
		missing []string
		want    time.Duration
	}{
		{"all kept", nil, 350 * time.Millisecond},
		{"one lost in the middle", []string{"c"}, 550 * time.Millisecond},
		{"the first lost: from the begin of the phase", []string{"a", "b"}, 600 * time.Millisecond},
		{"the last lost: to the end of the phase", []string{"b", "c", "d"}, 900 * time.Millisecond},
		{"all lost: the whole phase", []string{"a", "b", "c", "d"}, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			var l failover.Ledger
			start := time.Now()
			l.Acknowledged("before", start.Add(-500*time.Millisecond))
			l.Begin(start)
			for _, e := range []struct {
				key string
				ms  time.Duration
			}{{"a", 100}, {"b", 250}, {"c", 600}, {"d", 800}} {
				l.Acknowledged(e.key, start.Add(e.ms*time.Millisecond))
			}
			time.Sleep(time.Second)
			if _, gap, err := l.Audit(t.Context(), without(c.missing...)); err != nil || gap != c.want {
				t.Errorf("%s: the longest gap is %v, %v, want %v", c.name, gap, err, c.want)
			}
		})
	}
}

func TestAPrimaryThatCannotBeAskedLosesNothing(t *testing.T) {
	broken := errors.New("broken")
	var l failover.Ledger
	l.Acknowledged("a", time.Now())
	if _, _, err := l.Audit(t.Context(), func(context.Context, []string) (map[string]bool, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("Audit = %v, want the error", err)
	}
	if lost, _, err := l.Audit(t.Context(), without()); lost != 0 || err != nil {
		t.Errorf("%d writes lost, %v, want none", lost, err)
	}
}
