package autorefresh

import (
	"testing"
	"unsafe"
)

// The counter of misses was moved beside the storage: each Get that missed had all others fetch the
// line again which they look into first, and cost them a third of their time.
func TestMissesAreNotCountedBesideWhatReadsNeed(t *testing.T) {
	const line = 64
	var c Cache[int, int]
	for name, offset := range map[string]uintptr{
		"storage": unsafe.Offsetof(c.storage), "slow": unsafe.Offsetof(c.slow), "life": unsafe.Offsetof(c.life),
	} {
		if apart := int(unsafe.Offsetof(c.misses)) - int(offset); max(apart, -apart) < line {
			t.Errorf("misses are counted %d bytes from %s, which may be on one line of the processor's cache", apart, name)
		}
	}
}
