package flight_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/flight"
)

// question is work that waits for an answer.
type question struct {
	flight *flight.Flight[string]
	done   chan struct{}
	left   atomic.Bool
	all    bool // that Finish does
	err    error
	panics bool
	rest   time.Duration // that Rest takes
}

func (q *question) Done() <-chan struct{} { return q.done }

func (q *question) Leave() {
	if !q.left.Swap(true) {
		q.done <- struct{}{}
	}
}

func (q *question) Finish(context.Context) (bool, error) {
	if q.panics {
		panic("finish")
	}
	q.flight.Data = "finished"
	return q.all, q.err
}

func (q *question) Rest(context.Context) error {
	time.Sleep(q.rest)
	q.flight.Data = "rest"
	return nil
}

// begins makes a table in a bubble whose flights begin with a question, and a call of it.
func begins(t *testing.T, q *question) (all *flight.Table[string], life context.CancelFunc) {
	q.done = make(chan struct{}, 1)
	ctx, end := context.WithCancel(context.Background())
	all = flight.New(flight.Options[string]{
		Work: func(context.Context, *flight.Flight[string]) error { return errors.New("it was not begun") },
		Begin: func(_ context.Context, f *flight.Flight[string]) flight.Begun {
			q.flight = f
			return q
		},
		Panicked: func(key string, cause any) error { return fmt.Errorf("%s: %v", key, cause) },
		Life:     ctx,
		Closed:   errClosed,
	})
	t.Cleanup(func() {
		end()
		all.Close()
		all.Wait()
	})
	return all, end
}

// got is what a caller with so much time is told.
func got(t *testing.T, all *flight.Table[string], patience time.Duration) string {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	f, err := all.Do(ctx, "k")
	if err != nil {
		return err.Error()
	}
	return f.Data
}

func TestWhatWasBegunIsFinished(t *testing.T) {
	gone := context.DeadlineExceeded.Error()
	for what, c := range map[string]struct {
		question *question
		answer   time.Duration // when it comes; 0 for never
		first    string        // what the first caller is told, who leaves after 100 ms
		second   string        // what is told to the one who comes after 50 ms and stays
	}{
		"the answer comes":              {&question{all: true}, 60 * time.Millisecond, "finished", "finished"},
		"an error comes":                {&question{all: true, err: errors.New("no")}, 60 * time.Millisecond, "no", "no"},
		"it is not all":                 {&question{rest: 10 * time.Millisecond}, 60 * time.Millisecond, "rest", "rest"},
		"the rest takes its time":       {&question{rest: time.Second}, 60 * time.Millisecond, gone, "rest"},
		"the first leaves":              {&question{all: true}, 200 * time.Millisecond, gone, "finished"},
		"the first leaves, and no end":  {&question{}, 200 * time.Millisecond, gone, "rest"},
		"it panics":                     {&question{panics: true}, 60 * time.Millisecond, "k: finish", "k: finish"},
		"it panics, and the first left": {&question{panics: true}, 200 * time.Millisecond, gone, "k: finish"},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := c.question
				all, _ := begins(t, q)
				first, second := make(chan string, 1), make(chan string, 1)
				begun := time.Now()
				go func() { first <- got(t, all, 100*time.Millisecond) }()
				time.Sleep(50 * time.Millisecond)
				go func() { second <- got(t, all, time.Hour) }()
				go func() {
					time.Sleep(c.answer - time.Since(begun))
					q.done <- struct{}{}
				}()
				if told := <-first; told != c.first || time.Since(begun) > 100*time.Millisecond {
					t.Errorf("the first is told %q after %v, want %q", told, time.Since(begun), c.first)
				}
				if told := <-second; told != c.second {
					t.Errorf("the second is told %q, want %q", told, c.second)
				}
				if q.left.Load() {
					t.Error("it was left")
				}
				if n, _ := all.Active(); n != 0 {
					t.Errorf("%d flights", n)
				}
			})
		})
	}
}

// An answer that nobody waits for is waited for a second more; at Close not at all.
func TestWhatWasBegunIsLeft(t *testing.T) {
	for what, closes := range map[string]bool{"when nobody has waited for long": false, "at Close": true} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := &question{all: true, err: errors.New("left")}
				all, end := begins(t, q)
				begun := time.Now()
				told := make(chan string, 1)
				patience, want, least := 100*time.Millisecond, context.DeadlineExceeded.Error(), 1100*time.Millisecond
				if closes {
					patience, want, least = time.Hour, "left", 0
				}
				go func() { told <- got(t, all, patience) }()
				synctest.Wait()
				if closes {
					end()
					all.Close()
				}
				if got := <-told; got != want {
					t.Errorf("%q, want %q", got, want)
				}
				for !q.left.Load() && time.Since(begun) < time.Minute {
					time.Sleep(time.Millisecond)
				}
				if took := time.Since(begun); took < least || took > least+10*time.Millisecond {
					t.Errorf("it was left after %v, want %v", took, least)
				}
			})
		})
	}
}
