package pbwire_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	pb "github.com/holdfast-go/holdfast/groupcache/groupcachepb"
	"github.com/holdfast-go/holdfast/groupcache/internal/pbwire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// expiry is the field as the messages of this package have it: 0 is left out.
func expiry(v int64) *int64 {
	if v == 0 {
		return nil
	}
	return &v
}

func marshal(t *rapid.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMarshalIsThatOfTheGeneratedCode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		group, key := rapid.String().Draw(t, "group"), string(rapid.SliceOf(rapid.Byte()).Draw(t, "key"))
		value := rapid.SliceOf(rapid.Byte()).Draw(t, "value")
		expire := rapid.Int64().Draw(t, "expire")
		if rapid.Bool().Draw(t, "never") {
			expire = 0
		}
		got := pbwire.AppendGetResponse([]byte("before"), string(value), expire)
		want := append([]byte("before"), marshal(t, &pb.GetResponse{Value: value, Expire: expiry(expire)})...)
		if !bytes.Equal(got, want) {
			t.Fatalf("GetResponse: %x, want %x", got, want)
		}
		set := pbwire.SetRequest{Group: group, Key: key, Value: value, Expire: expire}
		got, want = set.Marshal(), marshal(t, &pb.SetRequest{Group: &group, Key: &key, Value: value, Expire: expiry(expire)})
		if !bytes.Equal(got, want) {
			t.Fatalf("SetRequest: %x, want %x", got, want)
		}
		var back pbwire.SetRequest
		if err := back.Unmarshal(got); err != nil || back.Group != group || back.Key != key || !bytes.Equal(back.Value, value) || back.Expire != expire {
			t.Fatalf("Unmarshal(%x) = %+v, %v, want %+v", got, back, err, set)
		}
	})
}

// seeds are messages, and bytes that are nearly one.
func seeds(f *testing.F) {
	f.Helper()
	whole := pbwire.AppendGetResponse(nil, "value", 12345)
	set := (&pbwire.SetRequest{Group: "grp", Key: "\xff", Value: []byte("value"), Expire: -1}).Marshal()
	f.Add([]byte{})
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(set)
	f.Add(append(set, whole...))
	f.Add(protowire.AppendTag(whole, 1, protowire.VarintType))
	f.Add(protowire.AppendVarint(protowire.AppendTag(whole, 1, protowire.VarintType), 5))
	f.Add(protowire.AppendString(protowire.AppendTag(whole, 3, protowire.BytesType), "x"))
	f.Add(protowire.AppendFixed64(protowire.AppendTag(whole, 2, protowire.Fixed64Type), 5))
	f.Add(protowire.AppendTag(protowire.AppendTag(whole, 9, protowire.StartGroupType), 9, protowire.EndGroupType))
	f.Add(protowire.AppendTag(whole, 9, protowire.EndGroupType))
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Add([]byte{0, 0})
	f.Add(protowire.AppendVarint(protowire.AppendVarint(whole, uint64(protowire.MaxValidNumber+1)<<3), 0))
}

// FuzzUnmarshal compares with the generated code, which refuses the same and reads the same.
func FuzzUnmarshal(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		partial := proto.UnmarshalOptions{AllowPartial: true}
		var get pbwire.GetResponse
		var wantGet pb.GetResponse
		err, wantErr := get.Unmarshal(b), partial.Unmarshal(b, &wantGet)
		agree(t, "GetResponse", b, err, wantErr)
		if err == nil && (!bytes.Equal(get.Value, wantGet.GetValue()) || get.Expire != wantGet.GetExpire()) {
			t.Fatalf("GetResponse %x = %+v, want %v", b, get, &wantGet)
		}
		var set pbwire.SetRequest
		var wantSet pb.SetRequest
		err, wantErr = set.Unmarshal(b), partial.Unmarshal(b, &wantSet)
		agree(t, "SetRequest", b, err, wantErr)
		if err == nil && (set.Group != wantSet.GetGroup() || set.Key != wantSet.GetKey() ||
			!bytes.Equal(set.Value, wantSet.GetValue()) || set.Expire != wantSet.GetExpire()) {
			t.Fatalf("SetRequest %x = %+v, want %v", b, set, &wantSet)
		}
	})
}

func agree(t *testing.T, name string, b []byte, err, want error) {
	t.Helper()
	if (err == nil) != (want == nil) {
		t.Fatalf("%s %x: %v, want %v", name, b, err, want)
	}
	if err != nil && !errors.Is(err, pbwire.ErrMalformed) {
		t.Fatalf("%s %x: %v, want ErrMalformed", name, b, err)
	}
}

func TestValuesAreNotCopied(t *testing.T) {
	b := pbwire.AppendGetResponse(nil, "value", 5)
	var r pbwire.GetResponse
	if err := r.Unmarshal(b); err != nil {
		t.Fatal(err)
	}
	if clear(b); string(r.Value) != "\x00\x00\x00\x00\x00" {
		t.Errorf("value = %q after the message was cleared, want it cleared too", r.Value)
	}
}

func TestFewAllocations(t *testing.T) {
	value := strings.Repeat("v", 1000)
	buffer := make([]byte, 0, 2000)
	var r pbwire.GetResponse
	if n := testing.AllocsPerRun(100, func() {
		if err := r.Unmarshal(pbwire.AppendGetResponse(buffer, value, 1)); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("GetResponse there and back: %v allocations, want 0", n)
	}
	set := pbwire.SetRequest{Group: "grp", Key: "key", Value: []byte(value), Expire: 1}
	if n := testing.AllocsPerRun(100, func() { _ = set.Marshal() }); n != 1 {
		t.Errorf("SetRequest.Marshal: %v allocations, want 1", n)
	}
	b := set.Marshal()
	if n := testing.AllocsPerRun(100, func() {
		var set pbwire.SetRequest
		if err := set.Unmarshal(b); err != nil {
			t.Error(err)
		}
	}); n > 2 { // of its group and its key
		t.Errorf("SetRequest.Unmarshal: %v allocations, want at most 2", n)
	}
}

func BenchmarkGetResponse(b *testing.B) {
	value := strings.Repeat("v", 100)
	expire := int64(1_700_000_000_000_000_000)
	b.Run("this", func(b *testing.B) {
		buffer := make([]byte, 0, 200)
		b.ReportAllocs()
		for b.Loop() {
			var r pbwire.GetResponse
			if err := r.Unmarshal(pbwire.AppendGetResponse(buffer, value, expire)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("generated", func(b *testing.B) {
		buffer := make([]byte, 0, 200)
		b.ReportAllocs()
		for b.Loop() {
			all, err := proto.MarshalOptions{}.MarshalAppend(buffer, &pb.GetResponse{Value: []byte(value), Expire: &expire})
			var r pb.GetResponse
			if err := errors.Join(err, proto.Unmarshal(all, &r)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
