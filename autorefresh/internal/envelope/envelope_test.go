package envelope_test

import (
	"bytes"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/autorefresh/internal/envelope"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func birth() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC) }

// layout is what the envelope of "value" looks like: processes of different releases share a second
// level.
const layout = "\xaf\x01\x00\x18\x86\xca\xf2\x1c\x96\x32\x06value"

func TestWhatIsSealedOpens(t *testing.T) {
	for _, e := range []envelope.Envelope{
		{LoadedAt: birth(), Value: []byte("value")},
		{LoadedAt: birth(), Value: []byte("value"), Terminal: true},
		{LoadedAt: birth(), Value: nil},
		{LoadedAt: time.Unix(0, 1), Value: []byte{0xAF, 1, 0}},
	} {
		got, ok := envelope.Open(envelope.Seal(e))
		if !ok || !got.LoadedAt.Equal(e.LoadedAt) || got.Terminal != e.Terminal || !bytes.Equal(got.Value, e.Value) {
			t.Errorf("Open(Seal(%+v)) = %+v, %v", e, got, ok)
		}
	}
}

func TestSealKeepsItsLayout(t *testing.T) {
	if got := string(envelope.Seal(envelope.Envelope{LoadedAt: birth(), Value: []byte("value")})); got != layout {
		t.Errorf("Seal() = %q, want %q: a change needs another version", got, layout)
	}
}

func TestSealSharesNothing(t *testing.T) {
	value := []byte("value")
	data := envelope.Seal(envelope.Envelope{LoadedAt: birth(), Value: value})
	value[0] = 'X'
	if e, _ := envelope.Open(data); string(e.Value) != "value" {
		t.Errorf("Open() = %q after the value was changed, want %q", e.Value, "value")
	}
}

func TestWhatIsNoEnvelopeDoesNotOpen(t *testing.T) {
	for name, data := range map[string]string{
		"nothing":              "",
		"cut short":            layout[:10],
		"text":                 `{"name": "another program's"}`,
		"a number":             "12345678901234567890",
		"another version":      "\xaf\x02" + layout[2:],
		"another magic":        "\xae" + layout[1:],
		"flags of the future":  "\xaf\x01\x02" + layout[3:],
		"the beginning":        "\xaf\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00value",
		"before the beginning": "\xaf\x01\x00\xff\x00\x00\x00\x00\x00\x00\x00value",
	} {
		if e, ok := envelope.Open([]byte(data)); ok {
			t.Errorf("%s: Open(%q) = %+v, want none", name, data, e)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(layout))
	f.Add([]byte(layout[:11]))
	f.Add([]byte("\xaf\x01\x01" + layout[3:]))
	f.Add([]byte("\xaf\x01\x00\x7f\xff\xff\xff\xff\xff\xff\xffvalue"))
	f.Add([]byte("STORED\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, ok := envelope.Open(data)
		if !ok {
			return
		}
		if again := envelope.Seal(e); !bytes.Equal(again, data) {
			t.Errorf("Open(%q) = %+v, whose bytes are %q", data, e, again)
		}
	})
}
