package history_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/history"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/placement"
)

func valid(name string) error {
	if !strings.Contains(name, ":") {
		return errors.New("no port")
	}
	return nil
}

func list(replaced time.Time, names ...string) history.List {
	return history.List{Names: names, Replaced: replaced}
}

var now = time.UnixMilli(1_800_000_000_000) //nolint:gochecknoglobals // a constant.

func ago(d time.Duration) time.Time { return now.Add(-d) }

func TestWhatIsEncodedIsDecoded(t *testing.T) {
	lists := []history.List{list(ago(time.Second), "a:1", "b:1"), list(ago(time.Hour), "/run/x:y.sock")}
	got, err := history.Decode(history.Encode(lists), now, valid)
	if err != nil || !reflect.DeepEqual(got, lists) {
		t.Errorf("%v, %v, want %v", got, err, lists)
	}
}

func TestWhatIsNotTaken(t *testing.T) {
	for what, text := range map[string]string{
		"nothing":          "",
		"another's":        "hello",
		"another version":  "lists 2\n1800000000000 a:1",
		"no names":         "lists 1\n1800000000000",
		"no time":          "lists 1\na:1 b:1",
		"an invalid name":  "lists 1\n1800000000000 a:1 b",
		"too many lists":   "lists 1" + strings.Repeat("\n1800000000000 a:1", history.MaxNames+1),
		"too long":         "lists 1\n1800000000000 a:1" + strings.Repeat("\n1 a:1", 1<<16),
		"too many servers": "lists 1\n1800000000000" + strings.Repeat(" a:1", 1001),
	} {
		if got, err := history.Decode([]byte(text), now, valid); err == nil {
			t.Errorf("%s: %v", what, got)
		}
	}
}

func TestTimesOfLists(t *testing.T) {
	lists := []history.List{list(now.Add(time.Minute), "a:1"), list(ago(history.Life-time.Second), "b:1"), list(ago(history.Life), "c:1")}
	got, err := history.Decode(history.Encode(lists), now, valid)
	if want := []string{"a:1", "b:1"}; err != nil || len(got) != 2 || got[0].Names[0] != want[0] || got[1].Names[0] != want[1] {
		t.Fatalf("%v, %v, want %q", got, err, want)
	}
	if !got[0].Replaced.Equal(now) {
		t.Errorf("a list that will be replaced was so at %v, want now", got[0].Replaced)
	}
}

// TestALongHistory leaves out its oldest lists: an item must not be larger than servers take.
func TestALongHistory(t *testing.T) {
	var lists []history.List
	for i := range history.LeastLists {
		var names []string
		for n := range 1000 {
			names = append(names, fmt.Sprintf("%s-%d.cache.internal:%d", strings.Repeat("x", 60), n, i+1))
		}
		lists = append(lists, list(ago(time.Duration(i)*time.Second), names...))
	}
	text := history.Encode(lists)
	got, err := history.Decode(text, now, valid)
	if err != nil || len(got) == 0 || len(got) == len(lists) || !reflect.DeepEqual(got, lists[:len(got)]) || len(text) > 1<<18 {
		t.Errorf("%d lists in %d bytes, %v", len(got), len(text), err)
	}
	for i, name := range lists[0].Names { // the longest that addresses may be
		lists[0].Names[i] = name[:len(name)-2] + strings.Repeat("x", 260-len(name)) + ":1"
	}
	if got, err := history.Decode(history.Encode(lists), now, valid); err != nil || len(got) != 1 {
		t.Errorf("%d lists, %v, want the latest", len(got), err)
	}
}

func TestAdd(t *testing.T) {
	present := []string{"a:1", "b:1"}
	one, two, other := list(ago(10), "a:1"), list(ago(30), "b:1"), list(ago(20), "b:1", "a:1")
	later := list(ago(5), "a:1")
	old, again := list(ago(time.Hour), "c:1"), list(ago(time.Nanosecond), "c:1")
	for _, tt := range []struct {
		what               string
		known, more        []history.List
		wantAll, wantAdded []history.List
	}{
		{"nothing", nil, nil, nil, nil},
		{"to nothing", nil, []history.List{two, one}, []history.List{one, two}, []history.List{one, two}},
		{"what is known stays", []history.List{one}, []history.List{later}, []history.List{one}, nil},
		{"between", []history.List{one, two}, []history.List{other}, []history.List{one, other, two}, []history.List{other}},
		{"the present one", []history.List{one}, []history.List{list(ago(1), present...)}, []history.List{one}, nil},
		{"replaced once more", []history.List{two, old}, []history.List{again}, []history.List{again, two}, []history.List{again}},
		{"an old time", []history.List{again}, []history.List{old}, []history.List{again}, nil},
		{"twice", nil, []history.List{one, later}, []history.List{one}, []history.List{one}},
	} {
		all, added := history.Add(present, tt.known, tt.more)
		if len(all)+len(tt.wantAll) > 0 && !reflect.DeepEqual(all, tt.wantAll) || !reflect.DeepEqual(added, tt.wantAdded) {
			t.Errorf("%s: %v and %v, want %v and %v", tt.what, all, added, tt.wantAll, tt.wantAdded)
		}
	}
	var many []history.List
	for i := range 2 * history.MaxNames {
		many = append(many, list(ago(time.Duration(i)), fmt.Sprintf("x:%d", i+1)))
	}
	if all, added := history.Add(present, many[history.MaxNames:], many[:history.MaxNames]); !reflect.DeepEqual(all, many[:history.MaxNames]) || len(added) != history.MaxNames {
		t.Errorf("%v and %v, want the latest", all, added)
	}
}

// TestWhatIsRemembered: of short lists many, of long ones the latest eight.
func TestWhatIsRemembered(t *testing.T) {
	for names, want := range map[int]int{1: 2000, 10: 200, 100: 20, 250: 8, 251: 8, 1000: 8} {
		sizes := make([]int, 3000)
		for i := range sizes {
			sizes[i] = names
		}
		if got := history.Remembered(sizes); got != want {
			t.Errorf("of lists of %d servers %d are remembered, want %d", names, got, want)
		}
	}
	if got := history.Remembered([]int{1, 1}); got != 2 {
		t.Errorf("of two lists %d are remembered", got)
	}
}

// TestKeys: fleets that place keys differently do not tell each other.
func TestKeys(t *testing.T) {
	seen := make(map[string]bool)
	for _, kind := range []placement.Kind{placement.CRC, placement.Rendezvous} {
		for _, names := range [][]string{{"a:1"}, {"a:1", "b:1"}, {"b:1", "a:1"}} {
			key := history.Key(kind, names)
			if seen[key] || key != history.Key(kind, names) || len(key) > 100 {
				t.Errorf("the key of %q is %q", names, key)
			}
			seen[key] = true
		}
	}
}

// FuzzDecode: a decoded history is valid, and the same again when it is encoded.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("lists 1\n1800000000000 a:1 b:2\n1799999999000 c:1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		lists, err := history.Decode(text, now, valid)
		if err != nil {
			return
		}
		for _, l := range lists {
			for _, name := range l.Names {
				if valid(name) != nil {
					t.Fatalf("%q is taken for a server", name)
				}
			}
		}
		again, err := history.Decode(history.Encode(lists), now, valid)
		if err != nil || len(text) < 1000 && len(lists) > 0 && !reflect.DeepEqual(again, lists) {
			t.Fatalf("%v becomes %v, %v", lists, again, err)
		}
	})
}
