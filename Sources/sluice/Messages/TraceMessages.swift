// SPDX-License-Identifier: Apache-2.0

import Trace

extension TraceError: AdvisedError {
  /// The next step for the user.
  var remedy: String? { "name a file that 'sluice run --trace' has written" }
}
