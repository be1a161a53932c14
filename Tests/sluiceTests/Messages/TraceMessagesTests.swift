// SPDX-License-Identifier: Apache-2.0

import Testing
import Trace

@testable import sluice

@Suite struct TraceMessagesTests {
  @Test("a trace that is none has line, cause and remedy")
  func trace() {
    #expect(
      TraceError(line: 3).message
        == "line 3: invalid trace record; name a file that 'sluice run --trace' has written")
  }
}
