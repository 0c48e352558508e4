package consistenthash_test

import (
	"crypto/md5"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/holdfast-go/holdfast/groupcache/consistenthash"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func peers(format string, from, to int) []string {
	var all []string
	for i := from; i <= to; i++ {
		all = append(all, fmt.Sprintf(format, i))
	}
	return all
}

func crc(data []byte) uint64 { return uint64(crc32.ChecksumIEEE(data)) }

// testdata has assignments that were made by the original.
func TestAssignmentsAreTheOriginals(t *testing.T) {
	text, err := os.ReadFile("testdata/assignments.csv")
	if err != nil {
		t.Fatal(err)
	}
	sets := map[string][]string{"set0": peers("http://10.0.0.%d:8080", 1, 3), "set1": peers("http://cache-%d.cache:8080", 0, 4)}
	hashes := map[string]consistenthash.Hash{"default": nil, "crc32": crc}
	rings := map[string]*consistenthash.Map{}
	tested := 0
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ",", 4)
		if len(fields) < 4 || fields[0] == "hash" || strings.HasPrefix(line, "#") {
			continue
		}
		quoted, err := strconv.QuotedPrefix(fields[3])
		if err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		key, _ := strconv.Unquote(quoted)
		owner := strings.TrimPrefix(fields[3][len(quoted):], ",")
		name := strings.Join(fields[:3], ",")
		if rings[name] == nil {
			replicas, _ := strconv.Atoi(fields[1])
			rings[name] = consistenthash.New(replicas, hashes[fields[0]])
			rings[name].Add(sets[fields[2]]...)
		}
		if got := rings[name].Get(key); got != owner {
			t.Errorf("%s: Get(%q) = %q, want %q", name, key, got, owner)
		}
		tested++
	}
	if tested != 1016 {
		t.Errorf("%d assignments, want 1016", tested)
	}
}

// Single assignments of the original, with more replicas and other names, too.
func TestSomeAssignmentsOfTheOriginal(t *testing.T) {
	m := consistenthash.New(50, nil)
	m.Add(peers("http://10.0.0.%d:8080", 1, 3)...)
	for key, want := range map[string]string{
		"": "http://10.0.0.2:8080", "a": "http://10.0.0.1:8080", "user:1": "http://10.0.0.3:8080", "user:1378": "http://10.0.0.2:8080",
	} {
		if got := m.Get(key); got != want {
			t.Errorf("Get(%q) = %q, want %q", key, got, want)
		}
	}
	m = consistenthash.New(512, nil)
	m.Add("6", "4", "2")
	for key, want := range map[string]string{"12,000": "4", "11": "6", "500,000": "4", "1,000,000": "2"} {
		if got := m.Get(key); got != want {
			t.Errorf("Get(%q) among 3 = %q, want %q", key, got, want)
		}
	}
	m.Add("8")
	for key, want := range map[string]string{"12,000": "4", "11": "8", "500,000": "4", "1,000,000": "8"} {
		if got := m.Get(key); got != want {
			t.Errorf("Get(%q) among 4 = %q, want %q", key, got, want)
		}
	}
}

func TestWithoutPeers(t *testing.T) {
	for _, m := range []*consistenthash.Map{{}, consistenthash.New(50, nil), consistenthash.New(0, nil)} {
		m.Add()
		if got := m.Get("key"); !m.IsEmpty() || got != "" {
			t.Errorf("IsEmpty, Get = %v, %q, want true, nothing", m.IsEmpty(), got)
		}
		if got := m.Owners(nil, "key", 3); len(got) != 0 {
			t.Errorf("Owners = %q, want none", got)
		}
	}
	m := consistenthash.New(1, nil)
	if m.Add("a"); m.IsEmpty() || m.Get("") != "a" {
		t.Errorf("IsEmpty, Get = %v, %q with one peer, want false, a", m.IsEmpty(), m.Get(""))
	}
}

// ring is the original's algorithm, in its plainest form.
type ring struct {
	points []int64
	owner  map[int64]string
}

func plain(replicas int, hash consistenthash.Hash, peers []string) ring {
	r := ring{owner: map[int64]string{}}
	for _, peer := range peers {
		for i := range replicas {
			at := int64(hash(fmt.Appendf(nil, "%x", md5.Sum([]byte(strconv.Itoa(i)+peer)))))
			r.points = append(r.points, at)
			r.owner[at] = peer
		}
	}
	slices.Sort(r.points)
	return r
}

func (r ring) get(at int64) string {
	for _, p := range r.points {
		if p >= at {
			return r.owner[p]
		}
	}
	return r.owner[r.points[0]]
}

func fnv64(data []byte) uint64 {
	h := fnv.New64()
	_, _ = h.Write(data)
	return h.Sum64()
}

// few has points fall together and places below 0.
func few(data []byte) uint64 { return fnv64(data) >> 32 % 16 << 60 }

func TestGetAgreesWithThePlainAlgorithm(t *testing.T) {
	hashes := map[string]consistenthash.Hash{"fnv": fnv64, "crc": crc, "few": few}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"fnv", "crc", "few"}).Draw(t, "hash")
		replicas := rapid.IntRange(1, 20).Draw(t, "replicas")
		names := rapid.SliceOfN(rapid.StringN(0, 3, -1), 1, 8).Draw(t, "peers")
		first := rapid.IntRange(0, len(names)).Draw(t, "first")
		m := consistenthash.New(replicas, hashes[name])
		if name == "fnv" {
			m = consistenthash.New(replicas, nil)
		}
		m.Add(names[:first]...)
		m.Add(names[first:]...)
		want := plain(replicas, hashes[name], names)
		for range 20 {
			key := rapid.String().Draw(t, "key")
			if got, want := m.Get(key), want.get(int64(hashes[name]([]byte(key)))); got != want {
				t.Fatalf("Get(%q) among %q = %q, want %q", key, names, got, want)
			}
		}
	})
}

func TestOwnersAreThoseWhoWouldOwnItNext(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,5}`), 1, 8, rapid.ID).Draw(t, "peers")
		key := rapid.String().Draw(t, "key")
		n := rapid.IntRange(-1, 10).Draw(t, "n")
		m := consistenthash.New(10, nil)
		m.Add(names...)
		got := m.Owners([]string{"before"}, key, n)
		var want []string
		for left := slices.Clone(names); len(want) < n && len(left) > 0; {
			m := consistenthash.New(10, nil)
			m.Add(left...)
			want = append(want, m.Get(key))
			left = slices.DeleteFunc(left, func(name string) bool { return name == m.Get(key) })
		}
		if got[0] != "before" || !slices.Equal(got[1:], want) {
			t.Fatalf("Owners(%q, %d) among %q = %q, want %q", key, n, names, got, want)
		}
	})
}

func TestReadersDoNotAllocate(t *testing.T) {
	for name, hash := range map[string]consistenthash.Hash{"default": nil, "crc32": crc} {
		m := consistenthash.New(50, hash)
		m.Add(peers("http://10.0.0.%d:8080", 1, 10)...)
		key, buffer := strings.Repeat("k", 100), make([]string, 0, 3)
		if n := testing.AllocsPerRun(100, func() { _ = m.Get(key) }); n != 0 {
			t.Errorf("%s: Get: %v allocations, want 0", name, n)
		}
		if n := testing.AllocsPerRun(100, func() { _ = m.Owners(buffer, key, 3) }); n != 0 {
			t.Errorf("%s: Owners: %v allocations, want 0", name, n)
		}
	}
}

func TestReadersMayBeMany(t *testing.T) {
	m := consistenthash.New(50, nil)
	m.Add(peers("peer-%d", 1, 5)...)
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for i := range 200 {
				key := fmt.Sprint(i)
				if owners := m.Owners(nil, key, 2); owners[0] != m.Get(key) || owners[0] == owners[1] {
					t.Errorf("Owners(%q) = %q, Get = %q", key, owners, m.Get(key))
				}
			}
		})
	}
	readers.Wait()
}

func BenchmarkGet(b *testing.B) {
	for _, n := range []int{3, 10, 50} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := consistenthash.New(50, nil)
			m.Add(peers("http://10.0.0.%d:8080", 1, n)...)
			b.ReportAllocs()
			for b.Loop() {
				_ = m.Get("user:00012345")
			}
		})
	}
}

func BenchmarkOwners(b *testing.B) {
	m := consistenthash.New(50, nil)
	m.Add(peers("http://10.0.0.%d:8080", 1, 10)...)
	buffer := make([]string, 0, 3)
	b.ReportAllocs()
	for b.Loop() {
		_ = m.Owners(buffer, "user:00012345", 3)
	}
}
