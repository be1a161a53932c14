// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import LabRunner

@Suite struct EmulatorStoreTests {
  @Test func removesOnlyTheFirstAssignment() {
    let text = """
      case SVM_EVTINJ_TYPE_INTR:
          cs->exception_index = vector;
          error = 1;
          break;
      case SVM_EVTINJ_TYPE_EXEPT:
          cs->exception_index = vector;
      """
    #expect(
      EmulatorStore.patched(text) == """
        case SVM_EVTINJ_TYPE_INTR:
            error = 1;
            break;
        case SVM_EVTINJ_TYPE_EXEPT:
            cs->exception_index = vector;
        """)
  }

  @Test(arguments: ["", "case SVM_EVTINJ_TYPE_INTR:\n  error = 1;\n  cs->exception_index = vector;\n"])
  func anotherSourceIsRefused(_ text: String) { #expect(EmulatorStore.patched(text) == nil) }

  @Test func toleratesAnotherModeOfInterrupts() {
    let off = "a; assert(!msix_enabled(timer->core->owner)); b;"
    let on = "c; assert(msix_enabled(timer->core->owner)); d;"
    #expect(
      EmulatorStore.tolerating(off + on)
        == "a;  b;c; if (!msix_enabled(timer->core->owner)) { timer->running = false; return; } d;")
    for text in ["", off, on, off + on + on] { #expect(EmulatorStore.tolerating(text) == nil) }
  }

  @Test func clearsTheWholeEvent() {
    #expect(
      EmulatorStore.clearing("store(event_inj,\n  event_inj & ~SVM_EVTINJ_VALID);")
        == "store(event_inj,\n  event_inj & 0);")
    #expect(EmulatorStore.clearing("store(event_inj, 0);") == nil)
    #expect(EmulatorStore.clearing("event_inj & ~SVM_EVTINJ_VALID, event_inj & ~SVM_EVTINJ_VALID") == nil)
  }
}
