package ring_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/groupcache/internal/ring"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const keys = 50_000

func key(i int) string { return fmt.Sprint("user:", i) }

func peers(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("http://10.0.%d.%d:8080", i/250, i%250))
	}
	return all
}

// Processes of other versions must agree: this must never change.
func TestAssignmentsStayAsTheyAre(t *testing.T) {
	r := ring.New([]string{"http://a:1", "http://b:1", "http://c:1", "http://d:1"})
	for k, want := range map[string][]string{
		"":       {"http://d:1", "http://a:1", "http://c:1"},
		"a":      {"http://d:1", "http://b:1", "http://c:1"},
		"user:1": {"http://c:1", "http://d:1", "http://a:1"},
		"\xff":   {"http://a:1", "http://c:1", "http://b:1"},
	} {
		if got := r.Owners(nil, k, 3); !slices.Equal(got, want) {
			t.Errorf("Owners(%q) = %q, want %q", k, got, want)
		}
	}
}

// When a peer fails, its keys go to the next owners: all of them, and most to where they would
// belong without it.
func TestNextOwnersShareTheLoadOfAFailedPeer(t *testing.T) {
	all := peers(10)
	r, without := ring.New(all), ring.New(all[1:])
	next, same, lost := map[string]int{}, 0, 0
	for i := range keys {
		owners := r.Owners(nil, key(i), 2)
		if owners[0] != all[0] {
			continue
		}
		lost++
		next[owners[1]]++
		if without.Get(key(i)) == owners[1] {
			same++
		}
	}
	most := 0
	for _, n := range next {
		most = max(most, n)
	}
	t.Logf("%d keys to %d peers, %d at most to one; %d would belong there", lost, len(next), most, same)
	if len(next) != 9 || most > 2*lost/9 || same < lost*7/10 {
		t.Errorf("%d keys to %d peers, %d at most to one, %d would belong there, want all 9 to have some", lost, len(next), most, same)
	}
}

func TestWithoutPeers(t *testing.T) {
	for _, r := range []*ring.Rendezvous{{}, ring.New(nil)} {
		if got := r.Get("key"); got != "" {
			t.Errorf("Get = %q, want none", got)
		}
		if got := r.Owners(nil, "key", 3); len(got) != 0 {
			t.Errorf("Owners = %q, want none", got)
		}
	}
}

func TestReadersMayBeManyAndDoNotAllocate(t *testing.T) {
	r := ring.New(peers(10))
	buffer := make([]string, 0, 3)
	if n := testing.AllocsPerRun(100, func() { _, _ = r.Get("key"), r.Owners(buffer, "key", 3) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for range 500 {
				k := key(rand.IntN(keys))
				if owners := r.Owners(nil, k, 2); owners[0] != r.Get(k) {
					t.Errorf("Owners(%q) = %q", k, owners)
				}
			}
		})
	}
	readers.Wait()
}

func BenchmarkNew(b *testing.B) {
	for _, n := range []int{3, 10, 50} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			all := peers(n)
			for b.Loop() {
				_ = ring.New(all)
			}
		})
	}
}

func BenchmarkOwners(b *testing.B) {
	for _, n := range []int{1, 3} {
		b.Run(fmt.Sprint(n, " of 10"), func(b *testing.B) {
			r := ring.New(peers(10))
			buffer := make([]string, 0, 3)
			b.ReportAllocs()
			for b.Loop() {
				_ = r.Owners(buffer, "user:00012345", n)
			}
		})
	}
}
