package loader_test

import (
	"context"
	"testing"

	"github.com/holdfast-go/holdfast/autorefresh/internal/fetch"
	"github.com/holdfast-go/holdfast/autorefresh/internal/life"
	"github.com/holdfast-go/holdfast/autorefresh/internal/loader"
	"github.com/holdfast-go/holdfast/autorefresh/internal/task"
)

// An entry leaves the storage a moment before the timetable hears of it. If a load of its key began
// in between, and the entry was being refreshed, that refresh took the place of the load: its
// answer then panicked with the cache's lock held, and all calls hung for ever.
func TestALoadThatBeginsBeforeTheOldRefreshIsNotedIsAnswered(t *testing.T) {
	alive := life.New()
	l := loader.New(loader.Options[int, int]{Life: alive, Spawn: func() {}, Batch: 1, Places: 1})
	alive.Lock()
	defer alive.Unlock()
	callFor := func() *loader.Call[int, int] {
		return l.CallForLocked(t.Context(), "", func() *loader.Call[int, int] {
			return l.NewCall(t.Context(), fetch.NewJob[int, int](func(context.Context, []*fetch.Want[int, int]) (verdict, err error) {
				return nil, nil
			}), nil)
		})
	}
	f, joined := l.BoardLocked(1, nil, callFor)
	if !joined {
		t.Fatal("a load does not begin")
	}
	refresh := new(task.Task)
	l.OrphanLocked(1, refresh)
	l.LandLocked(1)
	if !l.IsBusyLocked(1) {
		t.Fatal("the end of the refresh ends the load")
	}
	l.AnswerLocked(&fetch.Want[int, int]{Key: 1}, 5, nil)
	select {
	case <-f.Done:
		if f.Value != 5 || f.Err != nil {
			t.Errorf("the load has got %d, %v", f.Value, f.Err)
		}
	default:
		t.Error("who waits for the load is not answered")
	}
}
