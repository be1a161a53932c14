// SPDX-License-Identifier: Apache-2.0

import Testing
import Trace

@testable import sluice

@Suite struct TraceMessagesTests {
  @Test("a file that is not a trace has line, cause and remedy")
  func trace() {
    #expect(
      TraceError(line: 3).message
        == "line 3: invalid trace record; give a file written by 'sluice run --trace'")
  }
}
