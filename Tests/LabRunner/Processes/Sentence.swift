// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Returns an error as one sentence. The description of a Foundation error would contain all of its fields.
func sentence(_ error: any Error) -> String {
  guard type(of: error) is NSError.Type || error is CocoaError || error is POSIXError else {
    return "\(error)"
  }
  let error = error as NSError
  let path = error.userInfo[NSFilePathErrorKey] as? String ?? (error.userInfo[NSURLErrorKey] as? URL)?.path
  let cause = (error.userInfo[NSUnderlyingErrorKey] as? NSError).map { $0.localizedDescription }
  return [path, error.localizedDescription, cause].compactMap { $0 }.joined(separator: ": ")
}
