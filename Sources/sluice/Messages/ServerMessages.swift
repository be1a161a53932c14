// SPDX-License-Identifier: Apache-2.0

import Linux
import VMM

extension ServerProblem: AdvisedError {
  /// The next step for the user.
  var remedy: String? {
    switch self {
    case .connect(_, let error) where error.isPermission:
      "run the command as a user who may write to the socket"
    case .connect: "start the device's process, and give the path of its socket"
    case .connection: "read the messages of the device's process"
    case .notShared: "start the VM with --memory SIZE,shared"
    case .noReader: "remove another device of vfio-user first"
    }
  }
}
