package memcache_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// begun is a process that has not seen the lists before the present one.
func (l *listed) begun(number int, o memcache.Options) *process {
	l.t.Helper()
	o.Source, o.Hash = l.source, memcache.Rendezvous
	p := l.newProcess(number, o)
	check(l.t, p.client.Ping())
	return p
}

// TestAProcessThatBeginsAfterAChange asks where keys were, and deletes there, as the one does that
// has seen it, for a day.
func TestAProcessThatBeginsAfterAChange(t *testing.T) {
	t.Parallel()
	for _, later := range []time.Duration{time.Second, 9 * time.Minute, 23 * time.Hour, 25 * time.Hour} {
		playListed(t, memcache.Options{}, func(l *listed) {
			asked, deleted := l.moved[0], l.moved[1]
			l.set(asked, "v", 0)
			l.set(deleted, "old", 0)
			l.grow()
			time.Sleep(time.Second)
			check(t, l.client.Close()) // nobody else knows
			time.Sleep(later - time.Second)
			p := l.begun(1, memcache.Options{})
			_, err := p.client.Get(asked)
			if want := later < 10*time.Minute; want != (err == nil) {
				t.Errorf("%v after the change: Get = %v", later, err)
			}
			_ = p.client.Delete(deleted)
			if got := l.at(0, deleted); (got == "") != (later < 24*time.Hour) {
				t.Errorf("%v after the change: the former owner has %q after a Delete", later, got)
			}
			check(t, p.client.Close())
		})
	}
}

// TestAProcessThatBeginsAfterAServerLeft asks that, too, within HandOver, unless it would have to
// give it the password without knowing who it is.
func TestAProcessThatBeginsAfterAServerLeft(t *testing.T) {
	t.Parallel()
	login := func(context.Context, string) (user, password string, err error) { return "app", "secret", nil }
	for _, tt := range []struct {
		login func(context.Context, string) (user, password string, err error)
		later time.Duration
		want  bool
	}{{nil, 85 * time.Second, true}, {login, 85 * time.Second, false}, {nil, 15 * time.Minute, false}} {
		o := memcache.Options{Credentials: tt.login}
		playListed(t, o, func(l *listed) {
			l.grow()
			l.set(l.moved[0], "v", 0)
			l.source.set(nil, l.first(1)...)
			time.Sleep(tt.later)
			p := l.begun(1, o)
			_, err := p.client.Get(l.moved[0])
			_, known := p.client.Stats()[l.fakes[1].Addr()]
			if (err == nil) != tt.want || known != tt.want {
				t.Errorf("%v later, with a login %v: Get = %v, the server that left is known: %v", tt.later, tt.login != nil, err, known)
			}
			check(t, p.client.Close())
		})
	}
}

// TestAListThatIsReplacedOnceMore counts from then on: a process that begins after that deletes at
// the server that left, as others ask it.
func TestAListThatIsReplacedOnceMore(t *testing.T) {
	t.Parallel()
	playListed(t, memcache.Options{}, func(l *listed) {
		key := l.moved[0]
		for range 2 {
			l.grow()
			l.set(key, "old", 0)
			time.Sleep(30 * time.Minute)
			l.source.set(nil, l.first(1)...)
			time.Sleep(85 * time.Second) // one that lacks so many is adopted after a minute
		}
		p := l.begun(1, memcache.Options{})
		check(t, anyMiss(p.client.Delete(key)))
		if it, err := l.client.Get(key); err == nil {
			t.Errorf("Get = %q after another's Delete", it.Value)
		}
		check(t, p.client.Close())
	})
}

// TestAProcessThatBeginsBeforeAChange takes effect for others, who have heard of it, deletes where
// those still have their keys.
func TestAProcessThatBeginsBeforeAChange(t *testing.T) {
	t.Parallel()
	playListed(t, memcache.Options{}, func(l *listed) {
		key := l.moved[0]
		l.set(key, "old", 0)
		l.source.set(nil, l.first(2)...)
		for l.client.ListStats().Awaited == 0 {
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		p := l.begun(1, memcache.Options{})
		_ = p.client.Delete(key)
		if it, err := l.client.Get(key); err == nil {
			t.Errorf("Get = %q after another's Delete", it.Value)
		}
		if st := l.client.ListStats(); st.Changes != 1 {
			t.Errorf("%+v: the change has taken effect already", st)
		}
		check(t, p.client.Close())
	})
}

// historyKey returns when a server has been asked for the history.
func (l *listed) historyKey(server int) string {
	keys := make(chan string, 1)
	l.fakes[server].SetFault(func(cmd testutil.Command) testutil.Fault {
		if cmd.Verb == "gets" && strings.HasPrefix(cmd.Args[0], "holdfast:lists:") {
			select {
			case keys <- cmd.Args[0]:
			default:
			}
		}
		return testutil.Fault{}
	})
	return <-keys
}

// TestAHistoryThatIsLost is restored by those that know it. Writes of a process that did not, and
// copies by others, are deleted then.
func TestAHistoryThatIsLost(t *testing.T) {
	t.Parallel()
	playListed(t, memcache.Options{}, func(l *listed) {
		set, deleted := l.moved[0], l.moved[1]
		l.grow()
		time.Sleep(time.Minute)
		l.historyKey(1)
		time.Sleep(100 * time.Millisecond) // it is asked for again in ten seconds
		for i := range 2 {
			check(t, l.direct(i).FlushAll())
		}
		for _, key := range []string{set, deleted} {
			check(t, l.direct(0).Set(&memcache.Item{Key: key, Value: []byte("old")}))
		}
		p := l.begun(1, memcache.Options{})
		check(t, p.client.Set(&memcache.Item{Key: set, Value: []byte("new")}))
		check(t, anyMiss(p.client.Delete(deleted)))
		if it, err := l.client.Get(deleted); err != nil || string(it.Value) != "old" {
			t.Fatalf("Get = %v, %v: the history was not lost", it, err)
		}
		time.Sleep(20 * time.Second)
		if got := l.at(0, set) + l.at(1, set) + l.at(0, deleted) + l.at(1, deleted); strings.Contains(got, "old") {
			t.Errorf("the servers have %q", got)
		}
		check(t, p.client.Close())
	})
}

// TestWhatIsNoHistory: an item of the application's under such a key, or of another version, brings
// no servers, nor does one that somebody wrote who wants others asked.
func TestWhatIsNoHistory(t *testing.T) {
	t.Parallel()
	playListed(t, memcache.Options{}, func(l *listed) {
		history := &memcache.Item{Key: l.historyKey(0)}
		const flags = 0x6c697374
		var many strings.Builder // more than this fleet of one can have been
		for i := range 101 {
			fmt.Fprintf(&many, " 198.18.9.9:%d", 1+i)
		}
		for _, foreign := range []memcache.Item{
			{Value: []byte("lists 1\n9000000000000 198.18.9.9:1")},
			{Value: []byte("lists 2\n9000000000000 198.18.9.9:1"), Flags: flags},
			{Value: []byte("lists 1\n9000000000000 198.18.9.9:0"), Flags: flags},
			{Value: []byte("lists 1\n9000000000000 /run/another.sock"), Flags: flags},
			{Value: []byte("lists 1\n9000000000000" + many.String()), Flags: flags},
		} {
			history.Value, history.Flags = foreign.Value, foreign.Flags
			check(t, l.direct(0).Set(history))
			p := l.begun(1, memcache.Options{})
			time.Sleep(5 * time.Second)
			if n := len(p.client.Stats()); n != 1 {
				t.Errorf("%q: %d servers", foreign.Value, n)
			}
			check(t, p.client.Close())
		}
	})
}

// TestAHistoryThatIsAwaited: one server that does not answer holds up the first calls for a quarter
// of Timeout.
func TestAHistoryThatIsAwaited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleetOf(t, newZipf(1), 2, testutil.FakeOptions{})
		check(t, f.fakes[1].Hang())
		p := f.newProcess(0, memcache.Options{Source: &list{names: f.first(2)}, Hash: memcache.Rendezvous})
		began := time.Now()
		if _, err := p.client.Owner("k"); err != nil || time.Since(began) != memcache.DefaultTimeout/4 {
			t.Errorf("Owner = %v after %v, want a quarter of Timeout", err, time.Since(began))
		}
		check(t, p.client.Close())
	})
}
