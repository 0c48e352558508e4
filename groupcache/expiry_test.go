package groupcache_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

func TestAbsenceIsKeptIfAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loads := 0
		g := alone(t, func(context.Context, string, groupcache.Sink) error {
			loads++
			return &groupcache.ErrNotFound{Msg: "no such user"}
		}, groupcache.WithNegativeTTL(time.Minute))
		absent := func(want int) {
			t.Helper()
			if _, err := get(t.Context(), g, "a"); !errors.Is(err, &groupcache.ErrNotFound{}) || err.Error() != "no such user" || loads != want {
				t.Errorf("%v, %d loads, want %d", err, loads, want)
			}
		}
		absent(1)
		absent(1)
		time.Sleep(time.Minute + 1)
		absent(2)
		if err := g.Remove(t.Context(), "a"); err != nil {
			t.Error(err)
		}
		absent(3)
		if err := g.Set(t.Context(), "a", []byte("born"), time.Time{}, false); err != nil {
			t.Error(err)
		}
		if v, err := get(t.Context(), g, "a"); v != "born" || err != nil {
			t.Errorf("%q, %v", v, err)
		}
	})
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loads := 0
		g := alone(t, func(_ context.Context, key string, dest groupcache.Sink) error {
			loads++
			if key == "own" {
				return dest.SetString("v", time.Now().Add(time.Second))
			}
			return dest.SetString("v", time.Time{})
		}, groupcache.WithTTL(time.Minute, 0.5))
		v, err := g.View(t.Context(), "own")
		if got := time.Until(v.Expire()); err != nil || got != time.Second {
			t.Errorf("expires in %v, %v", got, err)
		}
		v, err = g.View(t.Context(), "default")
		if got := time.Until(v.Expire()); err != nil || got > time.Minute || got < time.Minute/2 {
			t.Errorf("expires in %v, %v", got, err)
		}
		time.Sleep(time.Second)
		if _, err := g.View(t.Context(), "own"); err != nil || loads != 3 {
			t.Errorf("%v, %d loads", err, loads)
		}
		time.Sleep(time.Minute)
		if _, err := g.View(t.Context(), "default"); err != nil || loads != 4 {
			t.Errorf("%v, %d loads", err, loads)
		}
	})
}

func TestStaleValuesAreServedWhileTheyAreLoadedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loads := 0
		g := alone(t, func(_ context.Context, _ string, dest groupcache.Sink) error {
			loads++
			n := loads
			if n > 1 {
				time.Sleep(time.Second)
			}
			return dest.SetString(strings.Repeat("v", n), time.Now().Add(time.Minute))
		}, groupcache.WithStaleWhileRevalidate(time.Hour))
		expect := func(want string) {
			t.Helper()
			began := time.Now()
			if v, err := get(t.Context(), g, "a"); v != want || err != nil || time.Since(began) != 0 {
				t.Errorf("%q after %v, %v; want %q", v, time.Since(began), err, want)
			}
		}
		expect("v")
		time.Sleep(2 * time.Minute)
		expect("v")
		expect("v")
		time.Sleep(2 * time.Second)
		expect("vv")
		if loads != 2 {
			t.Errorf("%d loads", loads)
		}
		time.Sleep(2 * time.Hour)
		if v, err := get(t.Context(), g, "a"); v != "vvv" || err != nil {
			t.Errorf("beyond the time: %q, %v", v, err)
		}
	})
}
