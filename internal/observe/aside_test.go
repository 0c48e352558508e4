package observe_test

import (
	"errors"
	"runtime"
	"testing"

	"github.com/holdfast-go/holdfast/internal/observe"
)

func TestSoundMakesErrorsOfWhatFails(t *testing.T) {
	refused := errors.New("refused")
	for want, ask := range map[string]func() (int, error){
		"refused":                         func() (int, error) { return 0, refused },
		"Options.F panicked: oops":        func() (int, error) { panic("oops") },
		"Options.F ended its goroutine":   func() (int, error) { runtime.Goexit(); return 1, nil },
		"Options.F panicked: nothing new": func() (int, error) { panic(errors.New("nothing new")) },
	} {
		if got, err := observe.Sound("Options.F", ask); err == nil || err.Error() != want || got != 0 {
			t.Errorf("Sound = %d, %v, want 0, %s", got, err, want)
		}
	}
	if got, err := observe.Sound("Options.F", func() (int, error) { return 3, nil }); err != nil || got != 3 {
		t.Errorf("Sound = %d, %v, want 3", got, err)
	}
}
