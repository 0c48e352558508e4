package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-go/holdfast/groupcache/internal/store"
)

// model is what a store must agree with: the last write of each key. The store may have
// evicted any of it.
type model struct {
	store  *store.Store
	now    int64
	values map[string]store.View
	keys   []string
}

func (m *model) clock() time.Time { return time.Unix(0, m.now) }

func (m *model) visible(key string) (store.View, bool) {
	v, ok := m.values[key]
	return v, ok && (v.Expire == 0 || m.now < v.Expire)
}

func (m *model) add(t *rapid.T) {
	it := store.Item{
		Key:   rapid.SampledFrom(m.keys).Draw(t, "key"),
		Value: strings.Repeat(rapid.StringN(1, 1, 1).Draw(t, "value"), rapid.SampledFrom([]int{0, 10, 100, 2000, 40_000}).Draw(t, "size")),
		Flags: rapid.Byte().Draw(t, "flags"),
	}
	if rapid.Bool().Draw(t, "expires") {
		it.Expire = m.now + rapid.Int64Range(-1, 5).Draw(t, "ttl")
	}
	if m.store.Put(it) {
		m.values[it.Key] = store.View{Value: it.Value, Expire: it.Expire, Flags: it.Flags}
	} else {
		delete(m.values, it.Key)
	}
}

func (m *model) get(t *rapid.T) {
	key := rapid.SampledFrom(m.keys).Draw(t, "key")
	got, ok := m.store.Get(key)
	want, there := m.visible(key)
	if ok && (!there || got != want) {
		t.Fatalf("Get(%q) = %+v, want %+v, %v", key, got, want, there)
	}
}

func (m *model) remove(t *rapid.T) {
	key := rapid.SampledFrom(m.keys).Draw(t, "key")
	m.store.Remove(key)
	delete(m.values, key)
}

func (m *model) clear(*rapid.T) {
	m.store.Clear()
	clear(m.values)
}

func (m *model) tick(t *rapid.T) {
	m.now += rapid.Int64Range(0, 3).Draw(t, "time")
}

func (m *model) sweep(t *rapid.T) {
	m.store.Sweep(rapid.IntRange(0, 1<<20).Draw(t, "look"))
}

func (m *model) resize(t *rapid.T) {
	m.store.SetMaxBytes(rapid.Int64Range(0, 1<<18).Draw(t, "bytes"))
}

// check compares the entries with the sums, and with the writes.
func (m *model) check(t *rapid.T) {
	if err := m.store.Check(); err != nil {
		t.Fatal(err)
	}
	items := int64(0)
	for _, key := range m.keys {
		got, ok := m.store.Peek(key)
		want, there := m.visible(key)
		if ok && (!there || got != want) {
			t.Fatalf("Peek(%q) = %+v, want %+v, %v", key, got, want, there)
		}
		if ok {
			items++
		}
	}
	if st := m.store.Stats(); st.Items < items {
		t.Fatalf("Stats() = %+v, but %d entries are there", st, items)
	}
}

func TestStoreAgreesWithItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{values: map[string]store.View{}, now: 1}
		for i := range 60 {
			m.keys = append(m.keys, strings.Repeat("k", i%3*20)+fmt.Sprint(i))
		}
		m.store = store.New(store.Options{
			MaxBytes: rapid.Int64Range(1, 1<<18).Draw(t, "budget"),
			Policy:   rapid.SampledFrom([]store.Policy{store.S3FIFO, store.LRU}).Draw(t, "policy"),
			Shards:   rapid.SampledFrom([]int{1, 4}).Draw(t, "shards"),
			Payload:  rapid.Bool().Draw(t, "payload"),
			Now:      m.clock,
		})
		t.Repeat(map[string]func(*rapid.T){
			"add": m.add, "add more": m.add, "get": m.get, "get more": m.get, "remove": m.remove, "clear": m.clear,
			"tick": m.tick, "sweep": m.sweep, "resize": m.resize, "": m.check,
		})
	})
}

// TestStoreWithRoomLosesNothing says what the model above cannot, as there anything may have been
// evicted.
func TestStoreWithRoomLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := store.New(store.Options{MaxBytes: 1 << 30, Shards: rapid.SampledFrom([]int{1, 8}).Draw(t, "shards")})
		values := map[string]string{}
		steps := rapid.SliceOf(rapid.IntRange(0, 1000)).Draw(t, "steps")
		for i, step := range steps {
			key := fmt.Sprint(step / 2)
			if step%2 == 0 {
				values[key] = fmt.Sprint(i)
				s.Put(store.Item{Key: key, Value: values[key]})
			} else if _, ok := values[key]; s.Remove(key) != ok {
				t.Fatalf("Remove(%q) = %v, want %v", key, !ok, ok)
			} else {
				delete(values, key)
			}
		}
		for i := range 501 {
			key := fmt.Sprint(i)
			want, there := values[key]
			if got, ok := s.Get(key); got.Value != want || ok != there {
				t.Fatalf("Get(%q) = %q, %v, want %q, %v", key, got.Value, ok, want, there)
			}
		}
	})
}

func TestLRUEvictsWhatWasNotUsedForLongest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const room = 8
		s := store.New(store.Options{MaxBytes: room * 4, Payload: true, Policy: store.LRU, Shards: 1})
		var recent []string // the last used is last
		for _, n := range rapid.SliceOf(rapid.IntRange(0, 19)).Draw(t, "keys") {
			key := fmt.Sprintf("k%03d", n)
			at := slices.Index(recent, key)
			if _, ok := s.Get(key); ok != (at >= 0) {
				t.Fatalf("Get(%q) = %v, want %v: of %q", key, ok, at >= 0, recent)
			}
			if at >= 0 {
				recent = slices.Delete(recent, at, at+1)
			} else {
				s.Put(store.Item{Key: key})
			}
			recent = append(recent, key)
			recent = recent[max(0, len(recent)-room):]
		}
	})
}
