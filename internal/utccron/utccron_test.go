package utccron

import "testing"

func TestParse_RefusesWhatIsNone(t *testing.T) {
	for _, bad := range []string{"", "0 3 * *", "0 3 * * 0 0", "61 * * * *", "@daily", "CRON_TZ=Asia/Tokyo 0 3 * * *", "TZ=", "0 0 30 2 *"} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if _, err := Parse("0 3 29 2 *"); err != nil {
		t.Errorf("a leap day: %v", err)
	}
}
