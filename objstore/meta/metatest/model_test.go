package metatest

import (
	"testing"

	"github.com/cofferfs/coffer/objstore/meta"
)

func TestModelKeepsTheContract(t *testing.T) {
	Run(t, Factory{Open: func(testing.TB) meta.Store { return NewModel() }})
}
