package multiwire_test

import (
	"bytes"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	pb "github.com/holdfast-go/holdfast/groupcache/groupcachepb"
	"github.com/holdfast-go/holdfast/groupcache/internal/multiwire"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// anyBytes are strings that need not be UTF-8.
func anyBytes() *rapid.Generator[string] {
	return rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })
}

func TestRequestsAreThoseOfTheProtocol(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOf(anyBytes()).Draw(t, "keys")
		encoded := multiwire.AppendRequest(nil, keys)
		var m pb.GetMultiRequest
		if err := proto.Unmarshal(encoded, &m); err != nil || len(m.GetKey()) != len(keys) {
			t.Fatalf("%d keys, %v", len(m.GetKey()), err)
		}
		for i, key := range m.GetKey() {
			if string(key) != keys[i] {
				t.Errorf("%q, want %q", key, keys[i])
			}
		}
		decoded, err := multiwire.ParseRequest(encoded)
		if err != nil || !slices.Equal(decoded, keys) {
			t.Errorf("%q, %v; want %q", decoded, err, keys)
		}
	})
}

func TestAnswersAreThoseOfTheProtocol(t *testing.T) {
	answers := rapid.SliceOf(rapid.Custom(func(t *rapid.T) wire.Answer {
		return wire.Answer{
			Outcome: wire.Outcome(rapid.IntRange(0, 2).Draw(t, "outcome")), Value: anyBytes().Draw(t, "value"),
			Expire: rapid.Int64().Draw(t, "expire"), Message: anyBytes().Draw(t, "message"), Marked: true,
		}
	}))
	rapid.Check(t, func(t *rapid.T) {
		want := answers.Draw(t, "answers")
		encoded := multiwire.AppendAnswers(nil, want)
		var m pb.GetMultiResponse
		if err := proto.Unmarshal(encoded, &m); err != nil || len(m.GetEntry()) != len(want) {
			t.Fatalf("%d entries, %v", len(m.GetEntry()), err)
		}
		for i, e := range m.GetEntry() {
			got := wire.Answer{Outcome: wire.Outcome(e.GetOutcome()), Value: string(e.GetValue()), Expire: e.GetExpire(), Message: string(e.GetMessage()), Marked: true}
			if got != want[i] {
				t.Errorf("%+v, want %+v", got, want[i])
			}
		}
		decoded, err := multiwire.ParseAnswers(encoded, len(want))
		if err != nil || !slices.Equal(decoded, want) {
			t.Errorf("%+v, %v; want %+v", decoded, err, want)
		}
		if _, err := multiwire.ParseAnswers(encoded, len(want)+1); err == nil {
			t.Error("an answer is missing, and nobody noticed")
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(multiwire.AppendRequest(nil, []string{"a", ""}))
	f.Add(multiwire.AppendAnswers(nil, []wire.Answer{{Value: "v", Expire: 1}, {Outcome: wire.LoadFailed, Message: "no"}}))
	f.Add([]byte{0x0a, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if keys, err := multiwire.ParseRequest(b); err == nil && len(keys) > len(b) {
			t.Errorf("%d keys in %d bytes", len(keys), len(b))
		}
		answers, err := multiwire.ParseAnswers(b, 1)
		if err == nil && (len(answers) != 1 || len(answers[0].Value) > len(b)) {
			t.Errorf("%+v", answers)
		}
	})
}

func TestPartsFitIntoRequests(t *testing.T) {
	long := strings.Repeat("k", multiwire.MaxRequest)
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.SampledFrom([]int{0, 1, 20, 300 << 10, multiwire.MaxRequest}), 0, 20).Draw(t, "sizes")
		few := rapid.SampledFrom([]int{0, 1, multiwire.MaxKeys - 1, multiwire.MaxKeys, 2*multiwire.MaxKeys + 1}).Draw(t, "short keys")
		var keys []string
		for _, n := range sizes {
			keys = append(keys, long[:n])
		}
		keys = append(keys, make([]string, few)...)
		var all []string
		for part := range multiwire.Parts(keys) {
			n := 0
			for _, key := range part {
				n += len(multiwire.AppendRequest(nil, []string{key[:min(len(key), 1000)]})) + max(0, len(key)-1000)
			}
			if len(part) == 0 || len(part) > multiwire.MaxKeys || n > multiwire.MaxRequest/2 && len(part) > 1 { // give or take the lengths of long keys
				t.Fatalf("a part has %d keys, %d bytes", len(part), n)
			}
			all = append(all, part...)
		}
		if !slices.Equal(all, keys) {
			t.Fatalf("%d keys became %d", len(keys), len(all))
		}
	})
}

// Entries of two bytes each became structs of a hundred before their number was looked at.
func TestTooManyAnswersAreNotDecoded(t *testing.T) {
	b := bytes.Repeat([]byte{0x0a, 0x00}, 1<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := multiwire.ParseAnswers(b, 2); err == nil {
		t.Error("a million answers to two keys: no error")
	}
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 10<<20 {
		t.Errorf("%d MiB were allocated", allocated>>20)
	}
}
