import { expect, test } from "vitest";
import { emptyDashboard } from "../../dashboards/model";
import { afterSave } from "./useDraft";

test("what was changed while a save was under way is still to be saved, over what that has written", () => {
  const sent = emptyDashboard("sent");
  expect(afterSave({ dashboard: sent, base: "1" }, sent, "2")).toBeNull();
  expect(afterSave({ dashboard: { ...sent }, base: "1" }, sent, "2")).toBeNull();
  const changed = emptyDashboard("changed");
  expect(afterSave({ dashboard: changed, base: "1" }, sent, "2")).toEqual({ dashboard: changed, base: "2" });
  // It was discarded meanwhile.
  expect(afterSave(null, sent, "2")).toBeNull();
});
