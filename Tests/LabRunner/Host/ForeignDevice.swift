// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The VFIO device of another process, reached through a copy of its descriptor (pidfd_getfd(2)).
final class ForeignDevice {
  private let device: FileHandle
  private let config: UInt64

  /// - Parameters:
  ///   - process: The ID of the process that has opened the device.
  ///   - identity: The vendor and device ID as in the first register, or nil for any device.
  init(of process: Int32, identity: UInt32? = nil) throws {
    let directory = "/proc/\(process)/fd"
    for name in try FileManager.default.contentsOfDirectory(atPath: directory) {
      // A descriptor that is closed concurrently is not the device.
      guard let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "\(directory)/\(name)"),
        Self.isDevice(target), let number = Int32(name)
      else { continue }
      let handle = try Self.copy(number, from: process)
      // A spare cdev is not bound to an iommufd, and is not the device in use.
      guard let offset = try Self.configOffset(handle) else { continue }
      var found: UInt32 = 0
      guard unsafe pread(handle.fileDescriptor, &found, 4, off_t(offset)) == 4 else { continue }
      guard identity == nil || identity == found else { continue }
      (device, config) = (handle, offset)
      return
    }
    throw Failed("process \(process): no matching VFIO device is open")
  }

  /// True if the target of a descriptor's link is a device of VFIO: the descriptor of a group, or a cdev.
  static func isDevice(_ target: String) -> Bool {
    target.contains("[vfio-device]") || target.hasPrefix("/dev/vfio/devices/vfio")
  }

  /// Resets the device with VFIO_DEVICE_RESET.
  func reset() throws {
    guard ioctl(device.fileDescriptor, 0x3b6f) == 0 else { throw Failed("VFIO_DEVICE_RESET: errno \(errno)") }
  }

  /// The value of COMMAND in the configuration region. The descriptors of VFIO have no file position.
  var command: UInt16 {
    get throws {
      var command: UInt16 = 0
      guard unsafe pread(device.fileDescriptor, &command, 2, off_t(config + 4)) == 2 else {
        throw Failed("COMMAND: read through VFIO: errno \(errno)")
      }
      return command
    }
  }

  func setMemory(_ on: Bool) throws {
    let command = try command
    var new = on ? command | 2 : command & ~2
    guard unsafe pwrite(device.fileDescriptor, &new, 2, off_t(config + 4)) == 2 else {
      throw Failed("COMMAND: write through VFIO: errno \(errno)")
    }
  }

  private static func copy(_ number: Int32, from process: Int32) throws -> FileHandle {
    // SAFETY: the types are declared in <sys/pidfd.h>. Swift's Glibc module leaves that header out.
    func function<Function>(_ name: String, as type: Function.Type) throws -> Function {
      guard let symbol = unsafe dlsym(nil, name) else { throw Skipped("the C library has no \(name)") }
      return unsafe unsafeBitCast(symbol, to: type)
    }
    let open = try function("pidfd_open", as: (@convention(c) (Int32, UInt32) -> Int32).self)
    let copy = try function("pidfd_getfd", as: (@convention(c) (Int32, Int32, UInt32) -> Int32).self)
    let handle = open(process, 0)
    guard handle >= 0 else { throw Failed("process \(process): pidfd_open: errno \(errno)") }
    defer { close(handle) }
    let result = copy(handle, number, 0)
    guard result >= 0 else { throw Failed("process \(process): pidfd_getfd of \(number): errno \(errno)") }
    return FileHandle(fileDescriptor: result, closeOnDealloc: true)
  }

  /// Returns the offset of the configuration space, region 7, from VFIO_DEVICE_GET_REGION_INFO, or nil for a cdev that is not
  /// bound to an iommufd.
  private static func configOffset(_ device: FileHandle) throws -> UInt64? {
    // argsz, flags, index, cap_offset, size, offset
    var info: [UInt32] = [32, 0, 7, 0, 0, 0, 0, 0]
    // SAFETY: the array has the 32 bytes of `struct vfio_region_info`.
    let result = unsafe info.withUnsafeMutableBytes { bytes in
      guard let base = bytes.baseAddress else { return Int32(-1) }  // the array is not empty
      return unsafe ioctl(device.fileDescriptor, 0x3b6c, base)
    }
    if result != 0, errno == EINVAL { return nil }
    guard result == 0 else { throw Failed("VFIO_DEVICE_GET_REGION_INFO: errno \(errno)") }
    return UInt64(info[7]) << 32 | UInt64(info[6])
  }
}
