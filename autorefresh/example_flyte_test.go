package autorefresh_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

// The interface of the auto-refresh cache of Flyte (flytestdlib/autorefreshcache, before
// flytestdlib/cache), as far as its users see it.
type (
	flyteItem    interface{ IsTerminal() bool }
	flyteWrapper interface {
		GetID() string
		GetItem() flyteItem
	}
	flyteWrapped struct {
		id   string
		item flyteItem
	}
	flyteAction   int
	flyteResponse struct {
		ID     string
		Item   flyteItem
		Action flyteAction
	}
	flyteSync func(ctx context.Context, batch []flyteWrapper) ([]flyteResponse, error)
)

const (
	flyteUnchanged flyteAction = iota
	flyteUpdate
)

var errFlyteNotFound = errors.New("item is not in the cache")

func (w flyteWrapped) GetID() string      { return w.id }
func (w flyteWrapped) GetItem() flyteItem { return w.item }

// flyteCache has the methods of Flyte's AutoRefresh, and Update, on a Cache.
type flyteCache struct {
	items *autorefresh.Cache[string, flyteItem]
}

// newFlyteCache is NewAutoRefreshBatchedCache. What its CreateBatchesFunc does is said by a size
// and a group: a call never has items of two.
func newFlyteCache(sync flyteSync, period time.Duration, parallelism, size, batch int, group func(id string) string) (*flyteCache, error) {
	items, err := autorefresh.NewBatch(func(ctx context.Context, items []autorefresh.Item[string, flyteItem], out []autorefresh.Result[flyteItem]) error {
		place, wrapped := make(map[string]int, len(items)), make([]flyteWrapper, 0, len(items))
		for i, item := range items {
			if item.Old.IsTerminal() { // it was when it was created
				out[i].Value, out[i].Err = autorefresh.Terminal(item.Old)
				continue
			}
			place[item.Key], wrapped = i, append(wrapped, flyteWrapped{item.Key, item.Old})
			out[i].Err = autorefresh.ErrUnchanged // what there is no response for
		}
		if len(wrapped) == 0 {
			return nil
		}
		responses, err := sync(ctx, wrapped)
		if err != nil {
			return err
		}
		for _, r := range responses {
			i, asked := place[r.ID]
			switch {
			case !asked || r.Action == flyteUnchanged:
			case r.Item.IsTerminal():
				out[i].Value, out[i].Err = autorefresh.Terminal(r.Item)
			default:
				out[i] = autorefresh.Result[flyteItem]{Value: r.Item}
			}
		}
		return nil
	}, autorefresh.Options[string, flyteItem]{
		Period: period, Workers: parallelism, MaxItems: size, BatchSize: batch, GroupBy: group,
		First: autorefresh.FirstImmediate, // as there, an item is synced when it is created
	})
	return &flyteCache{items}, err
}

// Start ends the cache with the context; it has been running since it was made.
func (c *flyteCache) Start(ctx context.Context) error {
	context.AfterFunc(ctx, func() { _ = c.items.Close() })
	return nil
}

func (c *flyteCache) Get(id string) (flyteItem, error) {
	if item, ok := c.items.Get(id); ok {
		return item, nil
	}
	return nil, errFlyteNotFound
}

func (c *flyteCache) GetOrCreate(id string, item flyteItem) (flyteItem, error) {
	item, _, err := c.items.GetOrCreate(id, item)
	return item, err
}

// Update gives an item that is there, and not terminal, another value.
func (c *flyteCache) Update(id string, item flyteItem) (ok bool) {
	_, err := c.items.Update(context.Background(), id, func(old flyteItem, known bool) (flyteItem, bool) {
		ok = known && !old.IsTerminal()
		return item, ok
	})
	return ok && err == nil
}

// DeleteDelayed deletes at once, not with the next round: a call under way does not bring the item
// back.
func (c *flyteCache) DeleteDelayed(id string) error {
	c.items.Delete(id)
	return nil
}

type flyteJob string

func (j flyteJob) IsTerminal() bool { return j == "done" }

// Code for the cache of Flyte as it is today goes on with an adapter.
func Example_flyte() {
	jobs, err := newFlyteCache(func(_ context.Context, batch []flyteWrapper) (responses []flyteResponse, _ error) {
		for _, w := range batch {
			responses = append(responses, flyteResponse{ID: w.GetID(), Item: flyteJob("done"), Action: flyteUpdate})
		}
		return responses, nil
	}, 50*time.Millisecond, 4, 1_000, 10, func(id string) string { return id[:1] })
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_ = jobs.Start(ctx)
	_, _ = jobs.GetOrCreate("a-1", flyteJob("queued"))
	done, err := jobs.items.Wait(ctx, "a-1", flyteItem.IsTerminal)
	fmt.Println(done, err)
	_ = jobs.DeleteDelayed("a-1")
	_, err = jobs.Get("a-1")
	fmt.Println(err)
	_ = jobs.items.Close()
	// Output:
	// done <nil>
	// item is not in the cache
}
