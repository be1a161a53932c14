// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory
internal import Linux
internal import Seams
internal import VFIOUser

/// The devices of a VM that are in other processes.
struct Servers: Sendable {
  private let memory: GuestMemory
  private let shared: ServerDevice.Observer
  /// The threads that receive their messages.
  let readers: ServerReaders

  /// Prepares devices. Guest RAM must have a file.
  ///
  /// - Parameters:
  ///   - memory: Guest RAM.
  ///   - count: The maximum number of devices at a time.
  ///   - shared: Called after guest RAM was mapped for a device, or unmapped.
  init(
    _ memory: GuestMemory, count: Int, shared: @escaping ServerDevice.Observer
  ) throws(RunError) {
    (self.memory, self.shared) = (memory, shared)
    readers = try step(RunError.kernel) { () throws(KernelError) in try ServerReaders(count: count) }
  }

  /// Connects to the process of a device, unless its socket was passed, and reads the properties of the device.
  ///
  /// - Parameters:
  ///   - name: The name of the device.
  ///   - index: The index of its socket among those that were passed.
  ///   - files: The files of the VM.
  func open(_ name: DeviceName, _ index: Int, _ files: HostFiles) throws(RunError) -> ServerDevice {
    guard let file = memory.file else { throw .server(.notShared(name)) }
    let socket: OwnedDescriptor
    if let passed = files.take(.server(index)) {
      socket = passed
    } else {
      do throws(KernelError) {
        socket = try StreamSocket.connect(to: name.path ?? "", waits: true)
      } catch { throw .server(.connect(name, error)) }
    }
    do throws(ConnectionError) {
      let connection = try Connection(socket, name: name.path ?? "", memory: messages)
      let remote = try RemoteDevice(connection)
      let space = RemoteAddressSpace(connection, ram: [RAMFile(addresses: memory.hostAddresses, file: file)])
      return ServerDevice(remote, space, memory.regions, shared: shared)
    } catch { throw .server(.connection(name, error)) }
  }

  /// Opens a device while the VM runs.
  func add(_ name: DeviceName, _ files: HostFiles) throws(RunError) -> ServerDevice {
    guard readers.hasFreePlace else { throw .server(.noReader(name)) }
    let device = try open(name, 0, files)
    device.prepareToServe()
    guard readers.give(device) else {
      device.close()
      throw .server(.noReader(name))
    }
    return device
  }

  /// Guest RAM for a process that uses messages instead of the file.
  private var messages: DMAMemory {
    DMAMemory(
      read: { [memory] range in
        do throws(GuestMemory.OutOfRange) {
          return try memory.read(Int(range.size), at: GuestAddress(range.address))
        } catch { return nil }
      },
      write: { [memory] address, bytes in
        do throws(GuestMemory.OutOfRange) {
          try memory.write(bytes, at: GuestAddress(address))
          return true
        } catch { return false }
      })
  }
}
