package groupcachepb_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/holdfast-go/holdfast/groupcache/groupcachepb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A program that imports the original too must not find two messages of one name: registering the
// second panics.
func TestNamesAreNotTheOriginals(t *testing.T) {
	files := 0
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		files++
		if f.Package() != "holdfast.groupcache.v1" {
			t.Errorf("file %s has package %s", f.Path(), f.Package())
		}
		if f.Path() == "groupcache.proto" || f.Path() == "groupcachepb/groupcache.proto" {
			t.Errorf("file %s is registered under the original's path", f.Path())
		}
		return true
	})
	if files != 1 {
		t.Errorf("%d files are registered, want 1", files)
	}
	if name := (&groupcachepb.GetRequest{}).ProtoReflect().Descriptor().FullName(); name != "holdfast.groupcache.v1.GetRequest" {
		t.Errorf("GetRequest is registered as %s", name)
	}
}

// The bytes of the original's messages.
func TestWireFormat(t *testing.T) {
	expire := int64(math.MaxInt64)
	field := func(tag byte, content string) []byte { return append([]byte{tag, byte(len(content))}, content...) }
	qps := binary.LittleEndian.AppendUint64([]byte{0x11}, math.Float64bits(1.5))
	late := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}
	request := slices.Concat(field(0x0a, "grp"), field(0x12, "\xff/ %"))
	for _, c := range []struct {
		message proto.Message
		want    []byte
	}{
		{&groupcachepb.GetRequest{Group: proto.String("grp"), Key: proto.String("\xff/ %")}, request},
		{
			&groupcachepb.GetResponse{Value: []byte("val"), MinuteQps: proto.Float64(1.5), Expire: &expire},
			slices.Concat(field(0x0a, "val"), qps, []byte{0x18}, late),
		},
		{
			&groupcachepb.SetRequest{Group: proto.String("grp"), Key: proto.String("\xff/ %"), Value: []byte("val"), Expire: &expire},
			slices.Concat(request, field(0x1a, "val"), []byte{0x20}, late),
		},
	} {
		got, err := proto.MarshalOptions{Deterministic: true}.Marshal(c.message)
		if err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("Marshal(%v) = %x, %v, want %x", c.message, got, err, c.want)
		}
		back := c.message.ProtoReflect().New().Interface()
		if err := proto.Unmarshal(c.want, back); err != nil || !proto.Equal(back, c.message) {
			t.Errorf("Unmarshal(%x) = %v, %v, want %v", c.want, back, err, c.message)
		}
	}
}

// Code for the original reads and sets the fields so.
func TestTypesAreTheOriginals(t *testing.T) {
	in := &groupcachepb.GetRequest{Group: proto.String("grp"), Key: proto.String("key")}
	out := &groupcachepb.GetResponse{}
	out.Value = []byte("got:" + in.GetGroup() + in.GetKey())
	out.MinuteQps, out.Expire = proto.Float64(2), proto.Int64(3)
	set := &groupcachepb.SetRequest{Group: in.Group, Key: in.Key, Value: out.Value, Expire: out.Expire}
	if string(set.GetValue()) != "got:grpkey" || set.GetExpire() != 3 || out.GetExpire() != 3 || out.GetMinuteQps() != 2 {
		t.Errorf("set = %v, out = %v", set, out)
	}
}
