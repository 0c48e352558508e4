package placement_test

import (
	_ "embed"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/placement"
)

//go:embed testdata/ketama.golden
var golden string

// TestKetamaIsLibmemcacheds compares with what the library itself has answered; testdata/ketama.c
// says how.
func TestKetamaIsLibmemcacheds(t *testing.T) {
	lists := 0
	for line := range strings.Lines(golden) {
		fields := strings.Fields(line)
		servers, _ := strconv.Atoi(fields[0])
		port, _ := strconv.Atoi(fields[1])
		names := make([]string, servers)
		for i := range names {
			at := port
			if port != 11211 {
				at += i
			}
			names[i] = fmt.Sprintf("cache-%d.internal:%d", i, at)
		}
		p := placement.New(placement.Ketama, names)
		for i, want := range fields[2:] {
			key := "key:" + strconv.Itoa(i)
			if got := p.Pick(key); strconv.Itoa(got) != want {
				t.Fatalf("%d servers at port %d: Pick(%q) = %d, want %s", servers, port, key, got, want)
			}
		}
		lists++
	}
	if lists != 128 {
		t.Errorf("%d lists in the golden file, want 128", lists)
	}
}

func TestCRCIsGomemcaches(t *testing.T) {
	var list gomemcache.ServerList
	names := []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:2", "127.0.0.1:5"}
	if err := list.SetServers(names...); err != nil {
		t.Fatal(err)
	}
	p := placement.New(placement.CRC, names)
	for i := range 1000 {
		key := "key:" + strconv.Itoa(i)
		want, err := list.PickServer(key)
		if err != nil {
			t.Fatal(err)
		}
		if got := names[p.Pick(key)]; got != want.String() {
			t.Fatalf("Pick(%q) = %s, want %s", key, got, want)
		}
	}
}

// TestWhatMoves: of 3 servers that become 4, rendezvous and ketama move a quarter of the keys, all
// of them to the new one.
func TestWhatMoves(t *testing.T) {
	three := []string{"a:1", "b:1", "c:1"}
	four := []string{"d:1", "c:1", "a:1", "b:1"} // the order does not matter
	const keys = 20_000
	for kind, want := range map[placement.Kind]float64{placement.Rendezvous: .25, placement.Ketama: .25, placement.CRC: .75} {
		before, after := placement.New(kind, three), placement.New(kind, four)
		if kind == placement.CRC {
			four = append(slices.Clone(three), "d:1")
			after = placement.New(kind, four)
		}
		moved, elsewhere := 0, 0
		for i := range keys {
			key := "key:" + strconv.Itoa(i)
			from, to := three[before.Pick(key)], four[after.Pick(key)]
			if from == to {
				continue
			}
			if moved++; to != "d:1" {
				elsewhere++
			}
		}
		slack := .01
		if kind == placement.Ketama {
			slack = .05 // uneven
		}
		if part := float64(moved) / keys; math.Abs(part-want) > slack || elsewhere > 0 != (kind == placement.CRC) {
			t.Errorf("kind %d moves %.3f of the keys, want %.2f; %d of them not to the new server", kind, part, want, elsewhere)
		}
		four = []string{"d:1", "c:1", "a:1", "b:1"}
	}
}

func TestFewNames(t *testing.T) {
	for kind := placement.CRC; kind <= placement.Ketama; kind++ {
		none, one := placement.New(kind, nil), placement.New(kind, []string{"a:1"})
		if got := none.Pick("k"); got != -1 {
			t.Errorf("kind %d: Pick of no names = %d, want -1", kind, got)
		}
		if got := one.Pick("k"); got != 0 {
			t.Errorf("kind %d: Pick of one name = %d, want 0", kind, got)
		}
		twice, both := placement.New(kind, []string{"a:1", "b:1", "a:1"}), placement.New(kind, []string{"a:1", "b:1"})
		for i := range 1000 {
			key := "key:" + strconv.Itoa(i)
			if kind != placement.CRC && twice.Pick(key) != both.Pick(key) {
				t.Fatalf("kind %d: a name that is there twice changes where %q goes", kind, key)
			}
		}
	}
}

func TestPickDoesNotAllocate(t *testing.T) {
	for kind := placement.CRC; kind <= placement.Ketama; kind++ {
		p := placement.New(kind, []string{"a:1", "b:1", "c:1"})
		if n := testing.AllocsPerRun(100, func() { p.Pick("some:key") }); n > 0 {
			t.Errorf("kind %d: Pick allocates %v times", kind, n)
		}
	}
}

func BenchmarkPick(b *testing.B) {
	names := make([]string, 100)
	for i := range names {
		names[i] = fmt.Sprintf("cache-%d:11211", i)
	}
	for kind, name := range []string{"CRC", "Rendezvous", "Ketama"} {
		for _, n := range []int{3, 100} {
			p := placement.New(placement.Kind(kind), names[:n])
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					p.Pick("some:key")
				}
			})
		}
	}
}
