package etcd

// A ByteView is a value that cannot be changed. The zero value is empty.
type ByteView struct{ s string }

// Len is the length in bytes.
func (bv ByteView) Len() int { return len(bv.s) }

// Bytes returns a copy of the value.
func (bv ByteView) Bytes() []byte { return []byte(bv.s) }

// String is the value as a string.
func (bv ByteView) String() string { return bv.s }
