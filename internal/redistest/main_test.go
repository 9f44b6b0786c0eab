package redistest_test

import (
	"testing"

	"github.com/lighterman/lighterman/internal/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }
